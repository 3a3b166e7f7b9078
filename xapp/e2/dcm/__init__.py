"""stackmac's own service model (dcm.proto): carrier, indication, control and their JSON. May import policy's types and
xapp.e2.asn1's errors; no other protocol. dcm_pb2 is generated.
"""
