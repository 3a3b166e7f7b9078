"""Learns: the uplink simulator, warm starts, training and evaluation of leaders and followers.

May import `policy`; never `xapp`.
"""
