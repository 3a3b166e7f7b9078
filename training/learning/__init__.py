"""The trainer: worlds that the leader plays (arena), what its words were worth (credit), how weights follow (ppo).

It may import policy and the rest of training. `training.learning.command` mounts it as `stackmac train`.
"""
