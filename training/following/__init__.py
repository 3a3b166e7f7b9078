"""Followers in training: the worlds that they play, by sampled bits, and each bit's value in a branch; how they learn
from it is in training.learning. May import policy, the simulator, the baselines and training's own modules.
"""
