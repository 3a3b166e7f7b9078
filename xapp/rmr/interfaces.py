"""The addresses of this machine's network interfaces, without asking any name server (Linux)."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

SIOCGIFADDR = 0x8915
"""ioctl: an interface's IPv4 address (netdevice(7))."""
LOOPBACK = "lo"
IPV6_TABLE = Path("/proc/net/if_inet6")


def interface_addresses() -> dict[str, list[str]]:
    """Return by interface its IPv4 address and then its IPv6 ones, these in brackets as RMR writes them."""
    found: dict[str, list[str]] = {name: [] for _, name in socket.if_nameindex()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name in found:
            try:
                answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none
            found[name].append(socket.inet_ntoa(answer[20:24]))
    for address, name in _ipv6_addresses():
        found.setdefault(name, []).append(f"[{address}]")
    return found


def _ipv6_addresses() -> list[tuple[str, str]]:
    """(address, interface)."""
    try:
        lines = IPV6_TABLE.read_text(encoding="ascii").splitlines()
    except OSError:
        return []  # a kernel without IPv6
    return [(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))), line.split()[-1]) for line in lines]
