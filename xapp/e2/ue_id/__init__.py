"""UE identities as service models carry them. May import xapp.e2.asn1."""
