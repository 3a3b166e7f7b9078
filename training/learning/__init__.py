"""The trainer: one loop (learner) that takes a role (leader_learner, follower_learner) and an objective (objectives).
`stackmac train` and `warm-start` are command.py and trainer.py. May import policy and all of training but
follower_run, exploit, experiments, environments and bench.
"""
