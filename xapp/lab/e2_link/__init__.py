"""The link between e2term and node: SCTP, or length-prefixed TCP where the kernel has none. May import the lab's
counters; what it carries are octets to it.
"""
