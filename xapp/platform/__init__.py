"""What the RIC platform's own Python libraries bring, and what stands in for it where they are not installed.

The formats of shared data: keys and values over Redis, R-NIB's entities. May import policy.errors alone.
"""
