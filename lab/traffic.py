# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Real TCP SYN packets, counted exactly at both ends of a data link.

``python -m lab.traffic syn`` sends at a steady rate, ``python -m lab.traffic count`` counts what
the receiving host's IP layer gets: behind XDP and TC ingress, so what a chain drops is not there.
Both print one JSON object.  Run them inside a namespace with `Host.command` / `peer_command`.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Final

SYN: Final = 0x02
ACK: Final = 0x10
BUCKET_SECONDS: Final = 0.1
RECEIVE_BUFFER_BYTES: Final = 64 * 1024 * 1024
SK_MEMINFO_DROPS: Final = 8
SO_MEMINFO: Final = 55
"""include/uapi/asm-generic/socket.h; entry SK_MEMINFO_DROPS of include/uapi/linux/sock_diag.h."""
READY: Final = "ready\n"
"""What the counter writes on standard error as soon as no packet can be missed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender did."""

    sent: int
    """Packets that the kernel took."""
    seconds: float
    sent_by_port: dict[int, int]


@dataclass(slots=True)
class Counted:
    """What a counter saw."""

    counted: int = 0
    counted_by_port: dict[int, int] = field(default_factory=dict)
    lost_in_socket: int = 0
    """Packets that arrived but found the counter's socket full; the count is exact if this is 0."""
    buckets: list[int] = field(default_factory=list)
    """Arrivals in each BUCKET_SECONDS since the counter became ready."""


def syn_packet(source: str, destination: str, *, source_port: int, port: int, number: int) -> bytes:
    """An IPv4 TCP SYN (RFC 9293 section 3.1) with valid checksums; `number` is its sequence."""
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    blank = struct.pack("!HHIIBBHHH", source_port, port, number, 0, 5 << 4, SYN, 64240, 0, 0)
    pseudo_header = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(blank))
    checksum = internet_checksum(pseudo_header + blank)
    segment = blank[:16] + struct.pack("!H", checksum) + blank[18:]
    # The kernel fills in identification and header checksum (raw(7), IP_HDRINCL).
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, socket.IPPROTO_TCP, 0)
    return header + addresses + segment


def internet_checksum(data: bytes) -> int:
    """The ones' complement sum of RFC 1071; `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send_syns(*, destination: str, ports: list[int], rate: float, count: int) -> Sent:
    """`count` SYNs are sent, `rate` a second, to the ports in turn, each from another port.

    A sender that falls behind catches up, so the mean rate holds; it never sends ahead of time.
    """
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        probe.connect((destination, 9))
        source = probe.getsockname()[0]
        by_port: Counter[int] = Counter()
        started = time.perf_counter()
        for number in range(count):
            due = started + number / rate
            while (wait_seconds := due - time.perf_counter()) > 0:
                time.sleep(wait_seconds)
            port = ports[number % len(ports)]
            packet = syn_packet(
                source,
                destination,
                source_port=1024 + number % 60000,
                port=port,
                number=number,
            )
            raw.sendto(packet, (destination, 0))
            by_port[port] += 1
        seconds = time.perf_counter() - started
    return Sent(sent=by_port.total(), seconds=round(seconds, 6), sent_by_port=dict(by_port))


class SynCounter:
    """Counts SYNs without ACK that the IP layer of this namespace receives."""

    def __init__(self, *, interface: str, ports: list[int]) -> None:
        """Listen on `interface`; no `ports`: all of them."""
        self._ports = frozenset(ports)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        # SO_RCVBUFFORCE (33): over the limit of net.core.rmem_max, with CAP_NET_ADMIN
        self._socket.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        self._socket.settimeout(BUCKET_SECONDS / 2)
        self._started = time.perf_counter()
        self._result = Counted()

    def receive(self) -> None:
        """Count what came, waiting at most half a bucket for a first packet."""
        try:
            packet = self._socket.recv(128)
        except TimeoutError:
            return
        header_bytes = (packet[0] & 0x0F) * 4
        port, flags = struct.unpack_from("!2xH9xB", packet, header_bytes)
        if flags & (SYN | ACK) != SYN or (self._ports and port not in self._ports):
            return
        result = self._result
        result.counted += 1
        result.counted_by_port[port] = result.counted_by_port.get(port, 0) + 1
        bucket = int((time.perf_counter() - self._started) / BUCKET_SECONDS)
        result.buckets.extend([0] * (bucket + 1 - len(result.buckets)))
        result.buckets[bucket] += 1

    @property
    def counted(self) -> int:
        """SYNs so far."""
        return self._result.counted

    def finish(self) -> Counted:
        """What was counted, with all that had arrived before this call; closes the socket."""
        self._socket.setblocking(False)
        try:
            while True:
                self.receive()
        except BlockingIOError:
            memory = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
            self._result.lost_in_socket = struct.unpack("9I", memory)[SK_MEMINFO_DROPS]
            self._socket.close()
            return self._result


def count_syns(
    *, interface: str, ports: list[int], seconds: float, expected: int | None
) -> Counted:
    """SYNs that arrive until `seconds` passed, `expected` came, or SIGTERM or SIGINT arrives."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopped.append(received))
    counter = SynCounter(interface=interface, ports=ports)
    sys.stderr.write(READY)
    sys.stderr.flush()
    deadline = time.perf_counter() + seconds
    while not stopped and time.perf_counter() < deadline:
        counter.receive()
        if expected is not None and counter.counted >= expected:
            break
    return counter.finish()


def main() -> None:
    """Print what was sent or counted as one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lab.traffic", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    syn = verbs.add_parser("syn", help="send SYNs")
    syn.add_argument("--to", required=True, help="IPv4 address")
    syn.add_argument("--port", type=int, action="append", required=True)
    syn.add_argument("--rate", type=float, default=1000.0, help="packets a second, all ports")
    syn.add_argument("--seconds", type=float, default=1.0)
    syn.add_argument("--count", type=int, help="packets; default: rate times seconds")
    count = verbs.add_parser("count", help="count SYNs that arrive")
    count.add_argument("--interface", default="data0")
    count.add_argument("--port", type=int, action="append", default=[])
    count.add_argument("--seconds", type=float, default=60.0, help="at most")
    count.add_argument("--expect", type=int, help="stop as soon as so many came")
    given = parser.parse_args()
    result: Sent | Counted
    if given.verb == "syn":
        packets = given.count if given.count is not None else round(given.rate * given.seconds)
        result = send_syns(destination=given.to, ports=given.port, rate=given.rate, count=packets)
    else:
        result = count_syns(
            interface=given.interface,
            ports=given.port,
            seconds=given.seconds,
            expected=given.expect,
        )
    sys.stdout.write(json.dumps(asdict(result)) + "\n")


if __name__ == "__main__":
    main()
