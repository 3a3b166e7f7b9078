"""The game for learners that are not ours: a PettingZoo and a Gymnasium environment, the picture of both. May import
policy, the simulator, training's rewards and what followers are paid (following).
"""
