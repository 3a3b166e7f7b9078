"""`--record` and `stackmac replay`: every input and decision on disk, and once more, byte for byte. May import
policy, xapp.config, e2, rmr, monitoring, leader, control and control_kinds; the decision path knows only its
observer.
"""
