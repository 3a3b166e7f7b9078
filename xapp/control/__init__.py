"""The decision path, report bytes to control bytes: receiver, tracker, mailbox, loop, leader's thread, sender,
record. May import policy, xapp.e2, rmr, config, leader and monitoring; of the platform's services (xapp.ric) it knows
nothing.
"""
