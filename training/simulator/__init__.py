"""The vectorised uplink game: one core for the simulated gNB, training and evaluation.

May import policy; nothing else of training.
"""
