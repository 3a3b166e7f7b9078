"""Learning to follow: periods played with sampled bits, what each bit was worth, and the losses made of it.

`stackmac train-followers` is command.py, what it leaves on disk run.py; nothing else here knows files. May import
policy, the simulator, rewards, counterfactual and baselines; the trainer builds on it.
"""
