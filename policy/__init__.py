"""Decides: from a cell's state to an allocation.

Pure: numpy, numba, torch and transformers only; no sockets, no Redis, no HTTP, no clock. Imports neither training nor
xapp. What KPM measurements mean is in observation.py, slots, periods and leases in time_scales.py.
"""
