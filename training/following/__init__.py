"""Followers in training: the worlds that they play, by sampled bits, and each bit's value in a branch.

How they learn from it is in training.learning. May import policy, the simulator, rewards, counterfactual and baselines.
"""
