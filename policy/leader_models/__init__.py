"""The networks that lead, and how their tokens become an allocation: transcript (the steps of a DCM), decoding, the
networks themselves, and the features of an action. May import policy.prompt and policy's own modules up to the
grammar; policy.text builds on it.
"""
