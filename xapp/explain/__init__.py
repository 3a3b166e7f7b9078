"""`stackmac explain` and its HTTP resource: why a UE got what it got in a decision. May import policy,
xapp.control, xapp.record and xapp.http; nothing of the decision path imports it.
"""
