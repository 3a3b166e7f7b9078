"""`--record` and `stackmac replay`: every input and decision on disk, and once more, byte for byte. May import policy,
xapp.config, e2, rmr, monitoring, control and quotas; the decision path knows only its observer.
"""
