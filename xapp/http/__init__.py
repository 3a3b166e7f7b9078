"""HTTP servers, each in a thread of its own, the xApp's routes (health, configuration, metrics, notifications), the
token that opens them, clients of REST services and of a running xApp. Imports policy.errors alone.
"""
