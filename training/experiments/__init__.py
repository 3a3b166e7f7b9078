"""`stackmac experiment NAME`: the paper's figures and its open questions, each as a table, a figure and a paragraph.
One study a module in studies/, found through `registry`; what they share is one noun a file. May import policy and
all of training but environments and bench.
"""
