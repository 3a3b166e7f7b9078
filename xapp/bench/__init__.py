"""`stackmac bench`: speed of the decision path against named alternatives measured in the same run. May import
everything of xapp but the lab and the doctor; nothing imports it.
"""
