"""Slots, report periods and leases: the numbers that simulator, node and xApp have in common."""

from __future__ import annotations

SLOT_MS = 1.0
"""The length of a slot (15 kHz subcarriers), where nothing says otherwise."""
MIN_PERIOD_MS, MAX_PERIOD_MS = 10, 10_240
"""The limits of an E2 report period."""
LEASE_PERIODS = 2
"""Periods after a report until which its control holds; then the node's own scheduler takes over."""
