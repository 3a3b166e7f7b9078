"""Stand-ins for the near-RT RIC platform, speaking its published protocols: e2term, managers, mediator, R-NIB. May
import xapp.e2, xapp.rmr, xapp.http and xapp.lab.e2_link.
"""
