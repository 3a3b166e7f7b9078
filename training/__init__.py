"""Learns: the uplink simulator, warm starts, training and evaluation of leaders and followers.

May import `policy` and `command_line`; never `xapp`. What slots are worth is in rewards.py, what learners climb in
learning/objectives.py.
"""
