"""Rows of comparisons that are not trained: the node alone, contention, the reference game; how eagerly UEs contend.
May import policy, the simulator, and training's own modules up to the replay.
"""
