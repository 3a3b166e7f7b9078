"""A simulated E2 node: the agent, the RAN functions, and a MAC that plays the simulator in time; whose ways it has is
in behaviour.py. May import policy, training.simulator, xapp.e2, rmr and quotas, the lab's e2_link and its own
modules; nothing of the xApp that controls it, nor of the lab's RIC.
"""
