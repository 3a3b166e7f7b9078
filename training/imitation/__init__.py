"""Warm starts: what a named teacher does in simulated cells, collected and imitated; the trainer starts from its
bundle. May import policy, the simulator, the baselines and training's own modules.
"""
