"""Leaders without a model: proportional fair and its relatives, periodic grants, and the fallback for when a model
may not decide. May import policy's own modules below the grammar: state, intent, limits, allocation; no network.
"""
