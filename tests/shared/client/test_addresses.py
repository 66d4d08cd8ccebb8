"""Which addresses agents and the open web may have, in every spelling somebody might try."""

from __future__ import annotations

import pytest

from shared.client.addresses import is_agent_allowed, is_web_allowed, why_literal_refused

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2001:4860:4860::8888"]
PRIVATE = ["127.0.0.1", "127.8.8.8", "10.0.0.7", "172.18.0.2", "192.168.1.1", "100.64.0.1", "::1", "fd12:3456::1"]
METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"]
METADATA_IN_IPV6 = [
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::6464:64c8",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "fd00:ec2::254",
    "fd20:ce::254",
]
NOWHERE = ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "ff02::1"]
LINK_LOCAL = ["169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"]
NEVER = METADATA + METADATA_IN_IPV6 + NOWHERE + LINK_LOCAL
PRIVATE_IN_IPV6 = ["::ffff:10.0.0.7", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]


@pytest.mark.parametrize("address", PUBLIC + PRIVATE + PRIVATE_IN_IPV6)
def test_agents_may_live_at_public_private_and_loopback_addresses(address: str) -> None:
    assert is_agent_allowed(address)


@pytest.mark.parametrize("address", NEVER)
def test_nobody_is_sent_to_metadata_link_local_or_nowhere(address: str) -> None:
    assert not is_agent_allowed(address)
    assert not is_web_allowed(address)


@pytest.mark.parametrize("address", PRIVATE + PRIVATE_IN_IPV6)
def test_private_addresses_are_closed_by_policy_and_never_web(address: str) -> None:
    assert not is_agent_allowed(address, private=False)
    assert not is_web_allowed(address)


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::8.8.8.8", "2002:808:808::1"])
def test_the_open_web_is_what_is_global(address: str) -> None:
    """Also through NAT64 and 6to4, which is how networks without IPv4 see it."""
    assert is_web_allowed(address)
    assert is_agent_allowed(address, private=False)


@pytest.mark.parametrize(
    "address", ["::7f00:1", "64:ff9b:1::1", "::ffff:0:808:808", "100::1", "2001:db8::1", "4000::1"]
)
def test_what_python_calls_global_is_not_always_the_web(address: str) -> None:
    assert not is_web_allowed(address)


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="example"):
        is_agent_allowed("example.org")


@pytest.mark.parametrize(
    "host",
    [
        *NEVER,
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "169.254.169.254.",
        "169。254。169。254",
        "169.254.169.254",
        "①⑥⑨.254.169.254",
        "fe80::1%25eth0",
        "%31%36%39.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0XA9FEA9FE",
        "025177524776",
        "169.254.43518",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.16689662",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0",
        "0x",
        "999.1.1.1",
        "1.2.3.4.5",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "instance-data.ec2.internal",
    ],
)
def test_forbidden_host_is_refused_in_any_spelling(host: str) -> None:
    """A forbidden host is refused in any spelling with a reason."""
    reason = why_literal_refused(host)

    assert reason is not None
    assert host in reason


@pytest.mark.parametrize(
    "host",
    [*PUBLIC, *PRIVATE, "localhost", "researcher", "researcher-2", "agent.example.org", "r2d2", "0x.example", "7.org"],
)
def test_ordinary_hosts_are_accepted(host: str) -> None:
    assert why_literal_refused(host) is None


@pytest.mark.parametrize("host", [*PRIVATE, "[::1]", "localhost", "x.LocalHost."])
def test_private_hosts_are_refused_by_policy(host: str) -> None:
    assert why_literal_refused(host, private=False) is not None
