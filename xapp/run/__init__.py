"""`stackmac run`: all parts wired once, the tasks that keep them current, status, start and stop. May import policy and
all of xapp but bench, doctor and lab.
"""
