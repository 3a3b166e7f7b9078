"""The live decision of a pointer model, compiled by numba: prompt, forward, grammar and choice in one kernel.

Equal in tokens to the torch reference (policy.leader_models.decoding), which it never imports. May import the parts of
policy that need no torch.
"""
