"""Followers in training: the worlds that they play, by sampled bits, and what each bit was worth in a branch.

How they learn from it is in training.learning. May import policy, the simulator, rewards, counterfactual and baselines.
"""
