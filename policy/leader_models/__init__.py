"""The networks that lead, and how their tokens become an allocation: transcript (the steps of a DCM),
decoding, the networks themselves, and the features of an action. May import policy's grammar and prompt;
policy.text builds on it.
"""
