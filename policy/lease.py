"""For how long a DCM holds without a newer one; then the node's own scheduler is in charge."""

from __future__ import annotations

LEASE_PERIODS = 2
"""Report periods after the report that a decision is based on: one report may be lost, or answered late."""
