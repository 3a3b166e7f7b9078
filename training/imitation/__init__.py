"""Warm starts: what a named teacher does in simulated cells, collected and imitated. May import policy and the
simulator; the trainer starts from its bundle.
"""
