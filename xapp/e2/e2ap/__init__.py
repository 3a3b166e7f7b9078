"""E2AP: the two hot messages by hand, every other procedure through pycrate. May import xapp.e2.asn1; what service
models say are octets to it.
"""
