"""Leaders without a model: proportional fair and its relatives, periodic grants, and the fallback for when a model
may not decide. May import policy's state, grammar and allocation; no network.
"""
