"""Limits and paces of an SI95 endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from xapp.rmr.frame import DEFAULT_MAX_FRAME_BYTES


@dataclass(frozen=True, slots=True)
class Si95Options:
    """Limits and paces of an endpoint."""

    max_receive_queue: int = 1024
    max_receive_bytes: int = 1 << 26
    """Payloads in the receive queue, all together."""
    max_send_queue: int = 256
    """Frames per destination."""
    max_queue_age_s: float = 2.0
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    max_partial_bytes: int = 1 << 24
    """Of frames that are not whole yet, over all connections."""
    connect_timeout_s: float = 1.5
    """Below `max_queue_age_s`: a reply whose source swallows the attempt can still go back on its own connection."""
    first_backoff_s: float = 0.05
    max_backoff_s: float = 2.0
