"""A simulated E2 node: the agent, the RAN functions, and a MAC that plays the simulator in time. May import
training.simulator, policy, xapp.e2 and xapp.lab.e2_link; nothing of the xApp that controls it.
"""
