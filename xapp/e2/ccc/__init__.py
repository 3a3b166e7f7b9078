"""E2SM-CCC, cell configuration and control: JSON in octet strings (docs/ccc.md). May import xapp.e2's asn1.errors,
dialect, json_codec, ran_function_name and ue_id.
"""
