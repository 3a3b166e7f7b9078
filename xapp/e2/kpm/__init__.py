"""E2SM-KPM, all five report styles: schema, action definitions, a report reader that fills tables, a writer. May
import policy.engine (how code is compiled), xapp.e2.asn1 and ue_id, and what protocols share in xapp.e2; no other
protocol.
"""
