"""`stackmac doctor`: what is wrong with a deployment and what to do about it. facts.py asks as the xApp would, where
it runs (it may block); checks.py judges the answers (pure); faults.py names what can be wrong. May import policy,
xapp.config, http, leader, nodes and ric; only the command line imports it.
"""
