"""The live decision of a pointer model, compiled by numba: prompt, forward, grammar and choice in one kernel. Equal
in tokens to the torch reference (policy.leader_models.decoding), which it never imports. May import what needs no
torch: policy's own modules, prompt, schedulers, and constants of leader_models.
"""
