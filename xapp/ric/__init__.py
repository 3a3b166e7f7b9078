"""The near-RT RIC platform's services as an xApp sees them: nodes, subscriptions, shared data."""
