"""Learns: the uplink simulator, warm starts, training and evaluation of leaders and followers.

May import `policy`; never `xapp`. Rewards of slots are in rewards.py, what learners climb in learning/objectives.py.
"""
