"""`stackmac train-followers`: followers trained under a leader that stands still, what a run leaves on disk, its card.

May import policy and all of training but exploit and experiments; how followers learn is in training.learning.
"""
