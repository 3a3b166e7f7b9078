"""The KPI guard's statistics: reports of one cell in, verdicts out. Pure: randomness is given, there is no clock.
May import numpy, and of policy what stands below it: policy.time_scales.
"""
