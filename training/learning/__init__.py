"""The trainer: worlds that the leader plays (rollout), what each choice is worth (objectives), how weights follow.

`stackmac train` is command.py. May import policy and all of training but exploit and experiments.
"""
