"""Which node is controlled how: the plan of subscriptions, cells that come and go, whether control is applied. May
import policy, xapp.config, e2, ric, control and control_kinds.
"""
