"""`stackmac train-followers`: followers trained under a leader that stands still, what a run leaves on disk, its
card; how followers learn is in training.learning. May import policy and all of training but exploit, experiments,
environments and bench.
"""
