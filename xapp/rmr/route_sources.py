"""Who brings route tables. RMR's control port knows no passwords: all that it can tell is where somebody calls from."""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

REMEMBERED_S = 300.0
"""How long a table from elsewhere stays a problem: a route manager that has moved is known after it."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RouteSources:
    """Thread safe. With networks only those may bring tables; without any, everybody may, and a second source is a
    problem for a while.
    """

    def __init__(self, allowed: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """allowed: networks, as `10.0.0.0/8`."""
        self._allowed: tuple[Network, ...] = tuple(ipaddress.ip_network(text, strict=False) for text in allowed)
        self._clock = clock
        self._lock = threading.Lock()
        self._known = ""
        self._problem = ""
        self._problem_until_s = 0.0

    def admits(self, address: str) -> bool:
        """Whether a table from there is taken; address: an IP address, "" = over a connection that we opened."""
        if not address:
            return True
        admitted = not self._allowed or self._is_allowed(address)
        with self._lock:
            before, known = self._problem, self._known
            if not admitted:
                self._notice(f"refused from {address}, which is not in controls.rmr.route_sources")
            elif not self._allowed and known not in ("", address):
                self._notice(f"from {address}, before from {known}")
            if admitted:
                self._known = address
            problem = self._problem
        if problem != before:
            log.warning("route tables: %s", problem)
        return admitted

    @property
    def problem(self) -> str:
        """Who should not have brought a table lately; "" = nobody."""
        with self._lock:
            if self._clock() >= self._problem_until_s:
                self._problem = ""
            return self._problem

    def _notice(self, problem: str) -> None:
        """Locked."""
        self._problem, self._problem_until_s = problem, self._clock() + REMEMBERED_S

    def _is_allowed(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # of an IPv4 peer, on a socket that takes both
        return any(found in network for network in self._allowed)
