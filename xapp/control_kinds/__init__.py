"""The kinds of control, one module each: how it is recognised at a node, encodes decisions and is recorded. May import
policy, xapp.config, e2, ric, control and quotas.
"""
