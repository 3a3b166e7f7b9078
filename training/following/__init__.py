"""Learning to follow: periods played with sampled bits, what each bit was worth, and the losses made of it.

May import policy, the simulator and training.learning.gae; knows no files and no command line.
"""
