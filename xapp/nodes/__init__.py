"""Which node is controlled how: the plan of subscriptions, cells that come and go, whether control is applied. May
import xapp.e2, xapp.ric, xapp.control and xapp.quotas.
"""
