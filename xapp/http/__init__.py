"""HTTP servers, each in a thread of its own, the xApp's routes (health, configuration, metrics, notifications), and a
client of REST services. Imports policy.errors alone.
"""
