"""Columns of a cell's state, made of its reports: by numpy, the usual ones by compiled code, with the same bits.
numba is imported only by `compiled_code`, when it is asked for. May import policy, xapp.e2 and control.column_ranges.
"""
