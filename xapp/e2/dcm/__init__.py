"""stackmac's own service model (dcm.proto): carrier, indication, control and their JSON. May import xapp.e2.asn1's
errors and policy's types. dcm_pb2 is generated.
"""
