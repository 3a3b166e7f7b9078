"""`--record` and `stackmac replay`: every input and decision on disk, and once more, byte for byte. May import
policy, xapp.control, xapp.quotas and xapp.nodes; the decision path knows only its observer.
"""
