"""What an operator watches: metrics, logs, symptom data, and how numbers are listed. Imports nothing of the project, so
that everything may count.
"""
