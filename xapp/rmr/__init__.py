"""RMR messaging: one Transport interface and its implementations (`si95`: RMR's TCP wire in pure Python)."""
