"""The vectorised uplink game: one core for the simulated gNB, training and evaluation. May import policy, and of
training what commands share (command_line).
"""
