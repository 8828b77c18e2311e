# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an interface and its driver can do with XDP, as far as the kernel says.

Nothing here fails: what cannot be asked is not known.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pyroute2 import GenericNetlinkSocket
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError

from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.attachment import InterfaceFacts

_XDP_FEATURES: Final = (
    "basic",
    "redirect",
    "ndo-xmit",
    "xsk-zerocopy",
    "hw-offload",
    "rx-sg",
    "ndo-xmit-sg",
)
"""Documentation/netlink/specs/netdev.yaml, xdp-act, lowest bit first."""
_GET_MTU, _ETHTOOL = 0x8921, 0x8946
_GET_DRIVER, _GET_STATISTICS, _GET_FLAGS = 0x03, 0x1D, 0x25
"""include/uapi/linux/ethtool.h: ETHTOOL_GDRVINFO, ETHTOOL_GSTATS, ETHTOOL_GFLAGS."""
_VETH: Final = "veth"
_STATISTICS_BYTES: Final = 1 << 16
"""Room for what veth counts for each queue; of a driver with more, nothing is asked."""
_LARGE_RECEIVE_OFFLOAD: Final = 1 << 15
_NAME_BYTES: Final = 16
_DEVICE_GET: Final = 1


class _Device(genlmsg):  # type: ignore[misc]  # because pyroute2 is not typed
    """Answer of the generic netlink family `netdev`."""

    nla_map = ((1, "NETDEV_IFINDEX", "uint32"), (3, "NETDEV_XDP_FEATURES", "uint64"))


def read_interface_facts(name: str, index: int) -> InterfaceFacts:
    """What is known of one interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        return InterfaceFacts(
            name=name,
            mtu=_mtu(opened, name),
            driver=_driver(opened, name),
            has_receive_offload=bool(_flags(opened, name) & _LARGE_RECEIVE_OFFLOAD),
            xdp_features=xdp_features().get(index),
        )


def largest_packets(name: str, index: int) -> tuple[int, int]:
    """MTU of the interface, and that of its peer if it is a veth with one in this namespace.

    A driver runs XDP itself only if what comes in fits; what comes in on a veth is as large as the
    peer's MTU.  0: not known.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        own = _mtu(opened, name)
        if _driver(opened, name) != _VETH:
            return own, 0
        peer = ""
        with suppress(OSError):
            peer = socket.if_indextoname(_peer_index(opened, name))
        # Indexes of another namespace mean other interfaces here.
        is_peer = peer and _driver(opened, peer) == _VETH and _peer_index(opened, peer) == index
        return own, _mtu(opened, peer) if is_peer else 0


def _peer_index(opened: socket.socket, name: str) -> int:
    """The first thing that veth counts (drivers/net/veth.c: ethtool_stats_keys); 0: unknown."""
    answer = _ethtool(opened, name, struct.pack("II", _GET_STATISTICS, 0).ljust(_STATISTICS_BYTES))
    count, first = struct.unpack_from("=IQ", answer, 4)
    return int(first) if count else 0


def drivers(names: list[str]) -> dict[str, str]:
    """The driver of each interface that has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        found = {name: _driver(opened, name) for name in names}
    return {name: driver for name, driver in found.items() if driver}


def xdp_features() -> Mapping[int, tuple[str, ...]]:
    """Interface index to what its driver does with XDP; empty before Linux 6.3."""
    found: dict[int, tuple[str, ...]] = {}
    with suppress(NetlinkError, OSError), GenericNetlinkSocket() as opened:
        opened.bind("netdev", _Device)
        request = _Device()
        request["cmd"], request["version"] = _DEVICE_GET, 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        for device in opened.nlm_request(request, msg_type=opened.prid, msg_flags=flags):
            bits = device.get_attr("NETDEV_XDP_FEATURES") or 0
            found[device.get_attr("NETDEV_IFINDEX")] = tuple(
                feature for bit, feature in enumerate(_XDP_FEATURES) if bits >> bit & 1
            )
    return found


def _mtu(opened: socket.socket, name: str) -> int:
    request = struct.pack("16sI20x", name.encode()[: _NAME_BYTES - 1], 0)
    with suppress(OSError):
        return int(struct.unpack_from("I", fcntl.ioctl(opened, _GET_MTU, request), 16)[0])
    return 0


def _driver(opened: socket.socket, name: str) -> str:
    answer = _ethtool(opened, name, struct.pack("I192x", _GET_DRIVER))
    return answer[4:36].split(b"\0", 1)[0].decode(errors="replace")


def _flags(opened: socket.socket, name: str) -> int:
    answer = _ethtool(opened, name, struct.pack("II", _GET_FLAGS, 0))
    return int(struct.unpack_from("I", answer, 4)[0])


def _ethtool(opened: socket.socket, name: str, command: bytes) -> bytes:
    """The command as the kernel filled it in; zeros if it cannot."""
    ffi = libraries().ffi
    buffer = bytearray(command)
    shared = ffi.from_buffer(buffer)
    address = int(ffi.cast("uintptr_t", shared))
    request = struct.pack("16sQ16x", name.encode()[: _NAME_BYTES - 1], address)
    with suppress(OSError):
        fcntl.ioctl(opened, _ETHTOOL, request)
        return bytes(buffer)
    return bytes(len(command))
