# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A lab is up or gone: hosts as network namespaces that share nothing but one management bridge.

::

    root namespace                 <prefix>-host-1                     <prefix>-peer-1
    <prefix>br 198.18.X.1/24 ---- mgmt0 198.18.X.11/24
                                  data0 198.19.1.1/24 ---------------- eth0 198.19.1.2/24
                                  <prefix>-host-2                     <prefix>-peer-2
                             ---- mgmt0 198.18.X.12/24
                                  data0 198.19.2.1/24 ---------------- eth0 198.19.2.2/24

Addresses are from 198.18.0.0/15 (RFC 2544, benchmarking), so no real network is hidden.  X is the
lowest one that no interface of the root namespace has, so several labs stand side by side.
Neighbours on data links are static and IPv6 is off there: the only packets are those sent.
"""

from __future__ import annotations

import fcntl
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute, NetNS, netns
from pyroute2.netlink.exceptions import NetlinkError

NAMESPACES_DIR: Final = Path("/run/netns")
LOCK_FILE: Final = Path("/run/l3af-lab.lock")
PREFIX_PATTERN: Final = r"^[a-z][a-z0-9]{0,9}$"
"""Ten characters leave room for the interface names made of it (IFNAMSIZ is 16)."""
MAX_HOSTS: Final = 40
MANAGEMENT_INTERFACE: Final = "mgmt0"
DATA_INTERFACE: Final = "data0"
PEER_INTERFACE: Final = "eth0"


class LabError(Exception):
    """The lab cannot be made or removed; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Host:
    """One test host and the traffic peer at the other end of its data link."""

    number: int
    """From 1."""
    namespace: str
    peer_namespace: str
    management_address: str
    data_address: str
    """Of `data0` in the host."""
    peer_address: str
    """Of `eth0` in the peer."""

    def command(self, *arguments: str) -> list[str]:
        """`arguments` as a command that runs inside the host.

        `nsenter` changes the network namespace alone; `ip netns exec` would also mount a fresh
        /sys and so hide bpffs.
        """
        return _inside(self.namespace, arguments)

    def peer_command(self, *arguments: str) -> list[str]:
        """`arguments` as a command that runs inside the traffic peer."""
        return _inside(self.peer_namespace, arguments)


@dataclass(frozen=True, slots=True)
class Lab:
    """Hosts that are up."""

    prefix: str
    bridge: str
    management_address: str
    """Of the root namespace on the management bridge: where hosts reach a server."""
    hosts: tuple[Host, ...]


@contextmanager
def create_lab(prefix: str, hosts: int = 2) -> Iterator[Lab]:
    """A fresh lab, removed at the end however the block ends.

    What a dead run with the same prefix left behind is removed first.

    Raises:
        LabError: A bad prefix or number, or the kernel said no (root is needed).
    """
    lab = raise_lab(prefix, hosts)
    try:
        yield lab
    finally:
        remove_lab(prefix)


def raise_lab(prefix: str, hosts: int) -> Lab:
    """A fresh lab that stays until `remove_lab`."""
    _check_prefix(prefix)
    if not 1 <= hosts <= MAX_HOSTS:
        raise LabError(f"a lab has 1 to {MAX_HOSTS} hosts, not {hosts}")
    with _locked():
        _remove(prefix)
        with ExitStack() as undo:
            undo.callback(_remove, prefix)
            lab = _build(prefix, hosts)
            undo.pop_all()
    return lab


def remove_lab(prefix: str) -> None:
    """Nothing of the lab is left: no namespace, no link.  Fine if there was none."""
    _check_prefix(prefix)
    with _locked():
        _remove(prefix)


def find_lab(prefix: str) -> Lab | None:
    """The lab that is up under this prefix, or None."""
    _check_prefix(prefix)
    numbers = sorted(_numbers(prefix, "host"))
    with IPRoute() as root:
        found = root.link_lookup(ifname=_bridge_name(prefix))
        if not found or not numbers:
            return None
        addresses = [a.get_attr("IFA_ADDRESS") for a in root.get_addr(family=2, index=found[0])]
    subnet = next((int(a.split(".")[2]) for a in addresses if a.startswith("198.18.")), None)
    return None if subnet is None else _describe(prefix, subnet, numbers)


def _describe(prefix: str, subnet: int, numbers: list[int]) -> Lab:
    return Lab(
        prefix=prefix,
        bridge=_bridge_name(prefix),
        management_address=f"198.18.{subnet}.1",
        hosts=tuple(
            Host(
                number=number,
                namespace=f"{prefix}-host-{number}",
                peer_namespace=f"{prefix}-peer-{number}",
                management_address=f"198.18.{subnet}.{10 + number}",
                data_address=f"198.19.{number}.1",
                peer_address=f"198.19.{number}.2",
            )
            for number in numbers
        ),
    )


def _build(prefix: str, count: int) -> Lab:
    with IPRoute() as root:
        lab = _describe(prefix, _free_subnet(root), list(range(1, count + 1)))
        try:
            root.link("add", ifname=lab.bridge, kind="bridge")
            bridge = root.link_lookup(ifname=lab.bridge)[0]
            _without_ipv6(root, bridge)
            root.addr("add", index=bridge, address=lab.management_address, prefixlen=24)
            root.link("set", index=bridge, state="up")
            for host in lab.hosts:
                _build_host(root, bridge, prefix, host)
        except (NetlinkError, OSError) as error:
            raise LabError(f"the lab cannot be made: {error}") from error
    return lab


def _build_host(root: Any, bridge: int, prefix: str, host: Host) -> None:
    netns.create(host.namespace)
    netns.create(host.peer_namespace)
    port = f"{prefix}m{host.number}"
    peer = {"ifname": MANAGEMENT_INTERFACE, "net_ns_fd": host.namespace}
    root.link("add", ifname=port, kind="veth", peer=peer)
    port_index = root.link_lookup(ifname=port)[0]
    _without_ipv6(root, port_index)
    root.link("set", index=port_index, master=bridge, state="up")
    with NetNS(host.namespace) as inside, NetNS(host.peer_namespace) as outside:
        far = {"ifname": PEER_INTERFACE, "net_ns_fd": host.peer_namespace}
        inside.link("add", ifname=DATA_INTERFACE, kind="veth", peer=far)
        _configure(inside, MANAGEMENT_INTERFACE, host.management_address)
        inside_mac = _configure(inside, DATA_INTERFACE, host.data_address)
        outside_mac = _configure(outside, PEER_INTERFACE, host.peer_address)
        _know_neighbour(inside, DATA_INTERFACE, host.peer_address, outside_mac)
        _know_neighbour(outside, PEER_INTERFACE, host.data_address, inside_mac)


def _configure(handle: Any, interface: str, address: str) -> str:
    """Bring interface and loopback up; returns the interface's MAC address."""
    handle.link("set", index=handle.link_lookup(ifname="lo")[0], state="up")
    index = handle.link_lookup(ifname=interface)[0]
    _without_ipv6(handle, index)
    handle.addr("add", index=index, address=address, prefixlen=24)
    handle.link("set", index=index, state="up")
    return str(handle.get_links(index)[0].get_attr("IFLA_ADDRESS"))


def _without_ipv6(handle: Any, index: int) -> None:
    """No link-local address is made, so the interface sends no packet by itself."""
    # include/uapi/linux/if_link.h: IN6_ADDR_GEN_MODE_NONE is 1
    mode = {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", 1]]}
    with suppress(NetlinkError):  # a kernel without IPv6 has nothing to turn off
        handle.link("set", index=index, IFLA_AF_SPEC={"attrs": [["AF_INET6", mode]]})


def _know_neighbour(handle: Any, interface: str, address: str, mac: str) -> None:
    index = handle.link_lookup(ifname=interface)[0]
    handle.neigh("add", dst=address, lladdr=mac, ifindex=index, state="permanent")


def _remove(prefix: str) -> None:
    try:
        with IPRoute() as root:
            for link in root.get_links():
                name = link.get_attr("IFLA_IFNAME")
                if name == _bridge_name(prefix) or re.fullmatch(rf"{prefix}m\d+", name):
                    root.link("del", index=link["index"])
        for kind in ("host", "peer"):
            for number in _numbers(prefix, kind):
                _remove_namespace(f"{prefix}-{kind}-{number}")
    except (NetlinkError, OSError) as error:
        raise LabError(f"the lab cannot be removed: {error}") from error


def _remove_namespace(name: str) -> None:
    """Remove the data link too: a process that still runs inside would keep it alive."""
    with suppress(NetlinkError, OSError), NetNS(name, flags=0) as inside:
        for found in inside.link_lookup(ifname=DATA_INTERFACE):
            inside.link("del", index=found)
    netns.remove(name)


def _numbers(prefix: str, kind: str) -> list[int]:
    pattern = re.compile(rf"{prefix}-{kind}-(\d+)")
    names = (path.name for path in NAMESPACES_DIR.glob(f"{prefix}-{kind}-*"))
    return [int(match[1]) for name in names if (match := pattern.fullmatch(name))]


def _free_subnet(root: Any) -> int:
    taken = {str(address.get_attr("IFA_ADDRESS")) for address in root.get_addr(family=2)}
    for subnet in range(256):
        if f"198.18.{subnet}.1" not in taken:
            return subnet
    raise LabError("all 256 management subnets of 198.18.0.0/16 are taken")


def _bridge_name(prefix: str) -> str:
    return f"{prefix}br"


def _check_prefix(prefix: str) -> None:
    if not re.fullmatch(PREFIX_PATTERN, prefix):
        raise LabError(
            f"prefix {prefix!r}: a letter, then at most 9 letters and digits, no capital"
        )


def _inside(namespace: str, arguments: tuple[str, ...]) -> list[str]:
    return ["nsenter", f"--net={NAMESPACES_DIR / namespace}", *arguments]


def render_command(arguments: list[str]) -> str:
    """The command as one line for a shell."""
    return shlex.join(arguments)


@contextmanager
def _locked() -> Iterator[None]:
    """One lab is made or removed at a time, so that two never choose the same subnet."""
    try:
        lock = LOCK_FILE.open("w")
    except OSError as error:
        raise LabError(f"labs need root: {error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
