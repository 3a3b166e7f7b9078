"""The decision path, report bytes to control bytes: receiver, tracker, mailbox, loop, leader's thread, sender,
record. May import policy, xapp.e2, xapp.rmr and xapp.config; of the platform's services it knows nothing.
"""
