"""Decides: from a cell's state to an allocation.

Pure: numpy, torch and transformers only; no sockets, no Redis, no HTTP, no clock. Imports neither of the other rooms.
"""
