"""Addresses at which this machine can be dialled, as it knows them itself: hints for others, proved by the handshake."""

from __future__ import annotations

import ipaddress

from worldos.drivers.machine import Machine

ADDRESSES_MAX = 8


def is_loopback(host: str) -> bool:
    """Tell whether nobody outside this machine can reach a socket bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reachable_addresses(host: str, port: int) -> tuple[str, ...]:
    """Return ``host:port`` for each address that a socket bound to ``host`` (empty: all) listens on, version 4 first."""
    if host:
        return (_with_port(host, port),)
    found: list[tuple[int, str]] = []
    for addresses in Machine().addresses().values():
        for address in addresses:
            ip = ipaddress.ip_address(address)
            if ip.is_loopback or ip.is_link_local:
                continue
            found.append((ip.version, str(ip)))
    return tuple(_with_port(ip, port) for _, ip in sorted(found)[:ADDRESSES_MAX]) or (_with_port("127.0.0.1", port),)


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
