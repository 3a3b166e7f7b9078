"""The configuration: one frozen model, which the descriptor's `controls` and its schema come from, and its live reload.
May import policy, and nothing of xapp.
"""
