"""Operators' policies: A1 messages, the policy type's model, sets with precedence, enforcement, `stackmac intent`.
May import policy, xapp.config, xapp.rmr, xapp.ric and xapp.http; the control loop sees compiled intents only.
"""
