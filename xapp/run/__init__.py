"""`stackmac run`: all parts wired once, the tasks that keep them current, status, start and stop. May import
everything of xapp but bench, doctor and lab.
"""
