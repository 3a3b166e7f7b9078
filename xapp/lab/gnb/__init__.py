"""A simulated E2 node: the agent, the RAN functions, and a MAC that plays the simulator in time. Whose
ways it has is in behaviour.py. May import policy,
training.simulator, xapp.e2, xapp.lab.e2_link, and what a quota (xapp.quotas) and an endpoint (xapp.rmr) are; nothing of
the xApp that controls it, nor of the lab's RIC.
"""
