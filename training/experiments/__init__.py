"""`stackmac experiment NAME`: the paper's figures and its open questions, each as a table, a figure and a paragraph.

One experiment a module, found through `registry`; what they share is one noun a file: budget, study (what is run, kept
and resumed), table, figure, paragraph. May import `policy` and the rest of `training`.
"""
