"""Learns: the uplink simulator, warm starts, training and evaluation of policies.

May import `policy`; never `xapp`.
"""
