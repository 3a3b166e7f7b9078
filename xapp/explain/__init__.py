"""`stackmac explain` and its HTTP resource: why a UE got what it got in a decision. May import policy, xapp.a1,
config, control, http, leader, record and monitoring; nothing of the decision path imports it.
"""
