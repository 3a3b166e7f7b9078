"""The near-RT RIC platform's services as an xApp sees them: nodes, subscriptions, shared data, registration, alarms
and their conditions, which of several instances controls. May import xapp.config, http, leader (why a model was
passed over), platform and rmr; of the control loop it knows nothing.
"""
