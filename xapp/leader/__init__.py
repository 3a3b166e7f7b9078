"""What stands between a leader, which nobody has to trust, and the pacer: its answers checked, its failures counted,
a process of its own. May import policy and xapp.config.
"""
