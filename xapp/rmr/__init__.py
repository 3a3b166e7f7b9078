"""RMR messaging: one Transport interface and its implementations, RMR's TCP wire in pure Python (`si95`) and over
OSC's C library (`osc`, which alone imports ricxappframe's bindings); route tables, and the client of who sends them.
May import xapp.config, http and platform.
"""
