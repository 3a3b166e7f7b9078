"""What every command shares: its options as one dataclass, values that are typed as a word, the file of its results.

May import `policy.errors`, whose mistakes it raises; the commands of xapp import it, too.
"""
