"""Whom the rounds of an endpoint's sockets tell what happens (xapp.rmr.io_loop)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from xapp.rmr.link import Link
from xapp.rmr.transport import RmrMessage


class LoopOwner(Protocol):
    """What a round tells; called in the thread that runs it, must not block."""

    def count(self, name: str, by: int = 1) -> None: ...

    def dialled_links(self) -> Collection[Link]:
        """Every link that may have something to dial for."""
        ...

    def on_messages(self, link: Link, messages: list[RmrMessage]) -> None: ...

    def on_unreachable(self, link: Link) -> None:
        """An attempt to dial this link's endpoint failed."""
        ...

    def on_closed(self, link: Link) -> None: ...

    def on_tick(self) -> None:
        """When something about a link may have changed, and at least once every IDLE_TICK_S."""
        ...
