"""Rows of the reference game that no leader can play: for pins and for upper marks.

May import `training.simulator` and `policy`.
"""
