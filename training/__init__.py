"""Learns: the uplink simulator, warm starts, training and evaluation of leaders and followers.

May import `policy`; never `xapp`. What slots are worth is in rewards.py, what learners climb in learning/objectives.py.
"""
