"""The networks that lead, and how their words become an allocation: transcript (what is said and scored),
decoding, the networks themselves, and the features of an action. May import policy's grammar and prompt;
policy.text builds on it.
"""
