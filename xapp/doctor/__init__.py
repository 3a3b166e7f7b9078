"""`stackmac doctor`: what is wrong with a deployment and what to do about it.

facts.py asks (HTTP, SDL, files; it may block), checks.py judges what was heard (pure), faults.py names what can be
wrong, command.py prints. It talks to the platform as the xApp would, so it is run where the xApp
runs: in its container.
"""
