"""E2 on the wire, pure functions over bytes: a folder for APER and one for each protocol, and here what protocols
share: dialects, names of RAN functions, JSON. May import policy's types, which DCM speaks of, and its compiler of
code (policy.engine); nothing else of xapp.
"""
