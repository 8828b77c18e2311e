# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The lab: hosts that come, carry counted packets, and go without a trace."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from lab.hosts import Lab, LabError, create_lab, find_lab, raise_lab, remove_lab
from lab.measurement import counting, send
from lab.traffic import internet_checksum, syn_packet

pytestmark = pytest.mark.kernel


def a_prefix() -> str:
    """A prefix that no other test has."""
    return "t" + uuid.uuid4().hex[:7]


def traces_of(prefix: str) -> list[str]:
    """Namespaces and links that carry the prefix."""
    with IPRoute() as root:
        links = [str(link.get_attr("IFLA_IFNAME")) for link in root.get_links()]
    names = [path.name for path in Path("/run/netns").glob("*")]
    return [name for name in (*links, *names) if name.startswith(prefix)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """One host, and nothing left of it afterwards."""
    with create_lab(a_prefix(), 1) as made:
        yield made
    assert traces_of(made.prefix) == []


def test_every_packet_sent_to_a_host_is_counted_there(lab: Lab) -> None:
    """What the peer sends and what the host counts are the same numbers, port by port."""
    host = lab.hosts[0]

    with counting(host) as arrivals:
        sent = send(host, ports=(80, 443), rate=20000, count=3000)

    assert sent.sent_by_port == {80: 1500, 443: 1500}
    assert arrivals.result().counted_by_port == sent.sent_by_port
    assert arrivals.result().lost_in_socket == 0


def test_a_counter_counts_only_the_ports_it_was_asked_for(lab: Lab) -> None:
    """Other ports do not enter the count."""
    host = lab.hosts[0]

    with counting(host, ports=(443,)) as arrivals:
        send(host, ports=(80, 443), rate=20000, count=100)

    assert arrivals.result().counted_by_port == {443: 50}


def test_packets_can_be_sent_from_the_host_too(lab: Lab) -> None:
    """The other direction is counted in the peer."""
    host = lab.hosts[0]

    with counting(host, in_peer=True) as arrivals:
        send(host, rate=20000, count=100, from_host=True)

    assert arrivals.result().counted == 100


def test_the_sender_holds_its_rate(lab: Lab) -> None:
    """A hundred packets at a thousand a second take a tenth of a second."""
    sent = send(lab.hosts[0], rate=1000, count=100)

    assert sent.seconds >= 0.099


def test_labs_stand_side_by_side(lab: Lab) -> None:
    """A second lab has its own management subnet."""
    with create_lab(a_prefix(), 1) as other:
        assert other.management_address != lab.management_address
        assert find_lab(lab.prefix) == lab


def test_what_a_dead_run_left_behind_is_replaced() -> None:
    """A lab of the same prefix is made anew, with the hosts asked for and no others."""
    prefix = a_prefix()
    raise_lab(prefix, 2)

    with create_lab(prefix, 1) as fresh:
        assert len(fresh.hosts) == 1
        assert find_lab(prefix) == fresh

    assert traces_of(prefix) == []


def test_a_process_inside_does_not_keep_a_lab_alive() -> None:
    """Links go even though a process still holds the namespace."""
    prefix = a_prefix()
    with (
        create_lab(prefix, 1) as lab,
        subprocess.Popen(lab.hosts[0].command("sleep", "60")) as inside,
    ):
        remove_lab(prefix)
        left = traces_of(prefix)
        inside.kill()

    assert left == []
    assert find_lab(prefix) is None


@pytest.mark.parametrize("prefix", ["", "Lab", "lab-1", "1lab", "elevenchars", "lab/../x"])
def test_a_prefix_that_could_name_something_else_is_refused(prefix: str) -> None:
    """Names are made of the prefix, so it is checked first."""
    with pytest.raises(LabError, match="prefix"):
        raise_lab(prefix, 1)


def test_a_syn_has_valid_checksums() -> None:
    """The TCP checksum over pseudo header and segment comes out as zero (RFC 9293 3.1)."""
    packet = syn_packet("198.19.1.2", "198.19.1.1", source_port=4000, port=80, number=7)
    segment = packet[20:]

    assert internet_checksum(packet[12:20] + b"\x00\x06\x00\x14" + segment) == 0
