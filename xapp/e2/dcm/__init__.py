"""stackmac's own service model (dcm.proto): carrier, indication, control and their JSON; dcm_pb2 is generated. May
import policy's types and policy.engine, and xapp.e2.asn1; no other protocol.
"""
