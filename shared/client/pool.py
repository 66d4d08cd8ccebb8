"""Connections that are kept: opened to checked addresses only, used again while they are fresh, closed in the end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import aiohappyeyeballs
import httpx

from shared.client import descriptors
from shared.client.addresses import ends_in_a_number
from shared.client.exchange import Connection

KEEP_SECONDS = 4.0  # less than uvicorn's 5: a client that keeps longer loses calls to closing connections
NEXT_ADDRESS_SECONDS = 0.25  # before another address of the same name is tried at the same time (RFC 8305)
DESCRIPTOR_SECONDS = 0.05  # until a descriptor is looked for again where all are in use
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS})


class UnknownHost(httpx.ConnectError):
    """The host name has no address, or none was found in time."""


class AddressRefused(httpx.ConnectError):
    """Muster may not connect to the address behind the name; trying again does not help."""


class NoDescriptor(httpx.ConnectError):
    """This process may not open another connection; the peer has nothing to do with it."""


class Origin(NamedTuple):
    """Whom a connection leads to; `host` is ASCII."""

    tls: bool
    host: str
    port: int


class Pool:
    """Takes and gives back connections; an address is looked up within `lookup_seconds`, and for every connection."""

    def __init__(self, allowed: Callable[[str], bool], *, lookup_seconds: float) -> None:
        self._allowed = allowed
        self._lookup_seconds = lookup_seconds
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._busy: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def take_kept(self, origin: Origin) -> Connection | None:
        """The freshest connection that is kept, if there is one."""
        idle, now = self._idle.get(origin), asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < KEEP_SECONDS:
                self._busy.add(connection)
                return connection
            connection.close()
        return None

    async def open_connection(self, origin: Origin, seconds: float | None) -> Connection:
        """A new connection; `seconds` bounds connecting, and again the TLS handshake.

        Raises `UnknownHost`, `AddressRefused`, `NoDescriptor`, `httpx.UnsupportedProtocol`, `httpx.ConnectError`,
        `ConnectTimeout`.
        """
        addresses, where = await self._find_addresses(origin), f"{origin.host}:{origin.port}"
        try:
            connection = await self._connect(addresses, origin, seconds)
        except TimeoutError as exc:
            raise httpx.ConnectTimeout(f"Cannot connect to {where} within {seconds:g} s.") from exc
        except (OSError, RuntimeError) as exc:  # uvloop raises both
            if isinstance(exc, OSError) and exc.errno in _OURS:
                raise NoDescriptor(f"No connection to {where} can be opened: {_explain(exc)}.") from exc
            raise httpx.ConnectError(f"Cannot connect to {where}: {_explain(exc)}") from exc
        self._busy.add(connection)
        return connection

    def give_back(self, connection: Connection, origin: Origin) -> None:
        """The exchange is over: the connection is kept if another may follow, else closed."""
        self._busy.discard(connection)
        if not connection.usable:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle[origin].append(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(KEEP_SECONDS, self._sweep)

    async def aclose(self) -> None:
        """Closes all connections, also those in use."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in (*self._busy, *(c for idle in self._idle.values() for c in idle)):
            connection.close()
        self._busy.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes their sockets

    def _sweep(self) -> None:
        """Closes what has been idle for too long; goes on while anything is kept."""
        loop = asyncio.get_running_loop()
        for origin, idle in list(self._idle.items()):
            fresh = [c for c in idle if c.usable and loop.time() - c.idle_since < KEEP_SECONDS]
            for connection in idle:
                if connection not in fresh:
                    connection.close()
            if fresh:
                self._idle[origin] = fresh
            else:
                del self._idle[origin]
        self._sweeper = loop.call_later(KEEP_SECONDS / 4, self._sweep) if self._idle else None

    async def _connect(self, addresses: list[Any], origin: Origin, seconds: float | None) -> Connection:
        short: OSError | None = None
        try:
            async with asyncio.timeout(seconds):
                while isinstance(sock := await _started(addresses), OSError):
                    short = sock
                    await asyncio.sleep(DESCRIPTOR_SECONDS)
        except TimeoutError:
            if short is None:
                raise
            raise short from None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls: dict[str, Any] = {"ssl": _make_tls(), "server_hostname": origin.host} if origin.tls else {}
            async with asyncio.timeout(seconds):
                _, connection = await asyncio.get_running_loop().create_connection(Connection, sock=sock, **tls)
        except BaseException:
            sock.close()
            raise
        return connection

    async def _find_addresses(self, origin: Origin) -> list[Any]:
        """What may be connected to, as `getaddrinfo` says it."""
        host, port = origin.host, origin.port
        try:
            version = ipaddress.ip_address(host.partition("%")[0]).version
        except ValueError:
            if ends_in_a_number(host):
                raise httpx.UnsupportedProtocol(
                    f"{host!r} is not a valid host: programs disagree about its address."
                ) from None
            found = await self._look_up(host, port)
        else:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            sockaddr = (host, port) if version == 4 else (host, port, 0, 0)
            found = [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr)]
        allowed = [info for info in found if self._allowed(info[4][0])]
        if not allowed:
            raise AddressRefused(f"The address of {host}:{port} is not allowed.")
        return allowed

    async def _look_up(self, host: str, port: int) -> list[Any]:
        try:
            async with asyncio.timeout(self._lookup_seconds):
                return await asyncio.get_running_loop().getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
        except TimeoutError as exc:
            raise UnknownHost(f"Cannot connect to {host}: no address within {self._lookup_seconds:g} s") from exc
        except (OSError, UnicodeError) as exc:
            if descriptors.are_short(descriptors.CALLS_LEAVE):  # the resolver says it in other words
                raise NoDescriptor(f"The address of {host} cannot be looked up: {os.strerror(errno.EMFILE)}.") from exc
            raise UnknownHost(f"Cannot connect to {host}:{port}: {_explain(exc)}") from exc


async def _started(addresses: list[Any]) -> socket.socket | OSError:
    """A connected socket, or the error that says that this process can have none at the moment."""
    try:
        return await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1, socket_factory=_socket
        )
    except OSError as exc:
        if exc.errno in _OURS:
            return exc
        raise


def _socket(info: Any) -> socket.socket:
    """A socket for an address, as long as enough descriptors are left to serve those who ask how we are."""
    sock = socket.socket(*info[:3])
    if not descriptors.leaves(descriptors.CALLS_LEAVE, sock.fileno()):
        sock.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return sock


@lru_cache(1)
def _make_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _explain(exc: Exception) -> str:
    if not isinstance(exc, OSError) or isinstance(exc, (socket.gaierror, ssl.SSLError)) or not exc.errno:
        return (exc.strerror if isinstance(exc, OSError) else None) or str(exc) or type(exc).__name__
    return os.strerror(exc.errno)  # "Connection refused"; the loops' own texts differ and repeat the address
