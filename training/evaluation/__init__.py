"""`stackmac evaluate`: a bundle and baselines in the same worlds, rows, columns, the table. May import policy, the
simulator, the baselines and training's own modules; no trainer.
"""
