"""The link between e2term and node: SCTP, or length-prefixed TCP where the kernel has none. May import xapp.e2."""
