"""Which addresses a step may speak to.

Hosts can be limited to named ones. Link-local addresses and those where clouds serve credentials to the machine are
refused unless they are named themselves, in whatever spelling they come: a request that an agent's input steers must not
read the machine's own keys. Names are checked before a request, and addresses again on the socket that is really
connected, so that a name which answers differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
"""As from ``getaddrinfo``."""

_BLOCKED: tuple[_Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local; AWS, Azure, Google, Oracle, DigitalOcean and most others
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud, older machines
        "fe80::/10",  # link-local
        "fd00:ec2::254/128",  # AWS over IPv6
        "fd20:ce::254/128",  # Google over IPv6
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
LONGEST_LABEL = 63
"""Characters between two dots of a name (RFC 1035, 2.3.4). Looking up what has more, or none, raises what no lookup should."""


class AddressBlocked(Exception):
    """The message names the address and why it is refused. Nothing was sent to it.

    No ``OSError`` on purpose: the client would take that for one address of several that cannot be reached.
    """


@dataclass(frozen=True, slots=True)
class _HostRule:
    """``api.example.com``, ``*.example.com`` (any depth below, not itself), each with or without ``:port``."""

    name: str
    port: int | None

    def admits(self, host: str, port: int | None) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.name.startswith("*."):
            return host.endswith(self.name[1:])
        return host == self.name


class Guard:
    """Decides for every URL and for every address connected to.

    ``allowed`` holds host names, ``*.`` patterns, addresses and networks, with an optional port; empty means every host.
    Only an address or network in it lifts the refusal of link-local and metadata addresses, never a name.
    """

    def __init__(
        self, allowed: Collection[str] = (), *, named: str = "the allowed hosts (setting HTTP_ALLOWED_HOSTS)"
    ) -> None:
        self._open = not allowed
        self._named_in = named
        self._hosts: list[_HostRule] = []
        self._networks: list[tuple[_Network, int | None]] = []
        for entry in allowed:
            self._allow(entry.strip().lower())
        self._passed: dict[tuple[str, str, int | None], None] = {}

    def _allow(self, entry: str) -> None:
        host, port = _split_port(entry)
        try:
            self._networks.append((ipaddress.ip_network(host.strip("[]"), strict=False), port))
        except ValueError:
            self._hosts.append(_HostRule(_ascii(host.rstrip(".")), port))

    def check_url(self, url: URL) -> None:
        """Raises ``AddressBlocked`` for a scheme, host or spelled-out address that may not be spoken to."""
        seen = (url.scheme, url.raw_host or "", url.port)
        if seen in self._passed:
            return
        self._check_url(url)
        if len(self._passed) < 10_000:
            self._passed[seen] = None

    def _check_url(self, url: URL) -> None:
        if url.scheme not in {"http", "https"}:
            raise AddressBlocked(f'"{url.scheme}" is refused: only http and https are spoken')
        host = (url.raw_host or "").rstrip(".").lower()
        if not host:
            raise AddressBlocked("the url has no host")
        address = _literal(host)
        if address is not None:
            self.check_address(address)
        elif not all(0 < len(label) <= LONGEST_LABEL for label in (url.raw_host or "").removesuffix(".").split(".")):
            raise AddressBlocked(f'host "{host[:100]}" is no name that a host can have')
        if self._open or any(rule.admits(host, url.port) for rule in self._hosts):
            return
        if address is not None and any(self._named(form, url.port) for form in _forms(address)):
            return
        raise AddressBlocked(f'host "{host}" is not among {self._named_in}')

    def check_address(self, address: _Address) -> None:
        """Raises ``AddressBlocked`` for link-local and metadata addresses, also where IPv6 only wraps IPv4."""
        for form in _forms(address):
            if any(form in network for network in _BLOCKED) and not self._named(form, None):
                raise AddressBlocked(f"{address} is a link-local or metadata address, which is refused")

    def _named(self, address: _Address, port: int | None) -> bool:
        return any(
            address in network and (port is None or wanted is None or wanted == port)
            for network, wanted in self._networks
        )

    def open_socket(self, address_info: AddressInfo) -> socket.socket:
        """The connector's socket factory: the last look at the address that is really connected to."""
        family, kind, protocol, _, target = address_info
        self.check_address(ipaddress.ip_address(str(target[0])))
        return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses a name whole when any of its addresses is refused."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            try:
                self._guard.check_address(ipaddress.ip_address(result["host"]))
            except AddressBlocked as blocked:
                raise AddressBlocked(f'host "{host}" leads astray: {blocked}') from None
        return results

    async def close(self) -> None:
        await self._resolver.close()


def _split_port(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and not (":" in host and not host.endswith("]")):
        return host, int(port)
    return entry, None


def _ascii(host: str) -> str:
    """A name as URLs spell it out on the wire: ``xn--…``."""
    star, name = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    return star + (URL.build(scheme="http", host=name).raw_host or name)


def _literal(host: str) -> _Address | None:
    """The address that a host spells out, ``None`` for a name; the decimal, octal and hexadecimal forms are refused."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        meant = socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None
    raise AddressBlocked(f'host "{host}" is another spelling of the address {meant}; write it plainly')


def _forms(address: _Address) -> Iterable[_Address]:
    """The address, and the IPv4 one that it wraps: mapped, compatible, 6to4, Teredo or NAT64."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
