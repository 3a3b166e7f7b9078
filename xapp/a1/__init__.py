"""Operators' policies: A1 messages, the policy type's model, sets with precedence, enforcement, `stackmac intent`.
May import policy, xapp.config, e2, http, rmr, ric and monitoring, and of control and quotas what cells report and
were sent; the control loop sees compiled intents only.
"""
