"""What every command shares: its options as one dataclass, values that are typed as a word, the file of its results.

May import `policy.errors`, whose mistakes it raises; training and xapp import it, `policy` does not.
"""
