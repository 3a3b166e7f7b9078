"""`stackmac bench`: speed of the decision path against named alternatives measured in the same run. May import policy
and all of xapp but the doctor and the lab; only the command line imports it.
"""
