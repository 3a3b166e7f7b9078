"""The near-RT RIC platform's services as an xApp sees them: nodes, subscriptions, shared data, registration, alarms and
their conditions, which of several instances controls. May import xapp.rmr and e2; of the control loop it knows nothing.
"""
