"""A RIC and a gNB on loopback: platform stand-ins and a simulated E2 node, speaking the real protocols."""
