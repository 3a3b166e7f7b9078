"""E2SM-RC: schema, messages, and the PRB quota of style 2 action 6. May import xapp.e2.asn1 and ue_id, and what
protocols share in xapp.e2; no other protocol.
"""
