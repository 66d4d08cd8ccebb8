"""Rules for which addresses Muster may connect to: its agents' and the open web's."""

from __future__ import annotations

import ipaddress
import unicodedata
from urllib.parse import urlsplit

import httpx

from shared.urls import is_http_url, is_loopback

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# "This network", metadata services, link-local, multicast, reserved, and unneeded IPv6 forms of IPv4.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.100.100.200/32",  # Alibaba's metadata service
        "168.63.129.16/32",  # Azure's
        "169.254.0.0/16",
        "192.0.0.192/32",  # Oracle's
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",  # IPv4-compatible (RFC 4291, 2.5.5.1); `::1` is judged as loopback
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 7915)
        "64:ff9b:1::/48",  # NAT64 of one site (RFC 8215): where it hides the IPv4 address is the site's choice
        "fd00:ec2::254/128",  # Amazon's
        "fd20:ce::254/128",  # Google's
        "fe80::/10",
        "ff00::/8",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_WEB_IPV6 = ipaddress.IPv6Network("2000::/3")  # Python calls more than this global
_METADATA_NAMES = {
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.tencentyun.com",
}


def is_agent_allowed(address: str, *, private: bool = True) -> bool:
    """Whether an agent may live at `address` (an IP address, as a name resolved to).

    Link-local, metadata, unspecified, multicast and reserved addresses never; private and loopback ones
    only with `private`. An IPv6 address that embeds an IPv4 one (mapped, NAT64, 6to4, Teredo) is judged
    as that. ValueError: no IP address.
    """
    ip = _unwrap(ipaddress.ip_address(address.partition("%")[0]))
    if ip.is_loopback:
        return private
    if any(ip in network for network in _NEVER):
        return False
    return private or (ip.is_global and (ip.version == 4 or ip in _WEB_IPV6))


def is_web_allowed(address: str) -> bool:
    """Whether `address` (an IP address, as a name resolved to) belongs to the open web. ValueError: no IP address."""
    return is_agent_allowed(address, private=False)


def why_literal_refused(host: str, *, private: bool = True) -> str | None:
    """Why no agent may be registered at the host of a URL, as a sentence; None when there is no reason.

    Judges what can be known without a look-up: IP addresses, in brackets or not, and names of metadata
    services. Every spelling of an IPv4 address but four plain decimal numbers is refused (`127.1`, `0x7f.1`,
    `2130706433`, `0177.0.0.1`), as is every IPv6 zone: programs disagree about what they mean.
    What a name resolves to is judged when a connection is opened.
    """
    name = unicodedata.normalize("NFKC", host).replace("。", ".").strip("[]").lower().rstrip(".")
    if name in _METADATA_NAMES:
        return f"{host!r} is a cloud's metadata service."
    if "%" in name:
        return f"{host!r} contains a zone or an escaped character."
    try:
        allowed = is_agent_allowed(name, private=private)
    except ValueError:
        if ends_in_a_number(name):
            return f"{host!r} is not a plain IP address; write it as four decimal numbers."
        allowed = private or not is_loopback(name)
    return None if allowed else f"Calls to {host} are not allowed."


def ends_in_a_number(name: str) -> bool:
    """What the URL standard reads as an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
    last = name.rpartition(".")[2]
    digits = last.removeprefix("0x")
    return last.isdecimal() or (digits != last and all(c in "0123456789abcdef" for c in digits))


def why_url_refused(url: str, *, private: bool, loopback: bool = False) -> str | None:
    """Why a URL cannot be called, as far as it shows without a look-up; None where nothing speaks against it.

    With `loopback` this machine is allowed, also where `private` addresses are not.
    """
    try:
        _ = httpx.URL(url).host  # read on demand; what it cannot read is a ValueError
        host = urlsplit(url).hostname or ""
    except (httpx.InvalidURL, ValueError) as exc:
        return f"is not a valid URL: {exc}"
    if not is_http_url(url):
        return "must be an http or https URL with a host."
    return None if loopback and is_loopback(host) else why_literal_refused(host, private=private)


def _unwrap(ip: Address) -> Address:
    """The IPv4 address that an IPv6 one embeds, or the same."""
    if ip.version == 4:
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1] or ip
