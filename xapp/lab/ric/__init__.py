"""Stand-ins for the near-RT RIC platform, speaking its published protocols: e2term, managers, mediator, R-NIB. May
import xapp.e2, rmr, http, platform, the lab's e2_link and its own modules; nothing of the xApp that it serves, nor of
the lab's gNB.
"""
