# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The network interfaces of this namespace and what their drivers can do, through pyroute2."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from time import monotonic
from typing import Any, Final

from msgspec.structs import replace
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from services.node_executor.adapters.default_routes import default_routes
from services.node_executor.adapters.hook_slots import taken_slots
from services.node_executor.adapters.interface_facts import drivers, xdp_features
from services.node_executor.adapters.network_namespaces import NamespaceGoneError, inside, names
from services.node_executor.route_messages import DefaultRoutes
from shared.contracts.interfaces import Interface
from shared.contracts.node import TakenSlot
from shared.errors import FaultError
from shared.identifiers import split_place

KEPT_SECONDS: Final = 300.0
"""How long the interfaces of a named namespace are believed, if nobody says that they changed."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Interfaces, and what others have on them where chains go."""

    interfaces: tuple[Interface, ...]
    taken: tuple[TakenSlot, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A named namespace, and when it was read."""

    surveyed: Surveyed
    at: float


class NetlinkFaultError(FaultError):
    """The kernel did not answer about interfaces."""


class Netlink:
    """One netlink socket; made, used and closed in one thread that runs no event loop."""

    def __init__(
        self, base: PurePosixPath, *, named: Callable[[], tuple[str, ...]] = names
    ) -> None:
        """Nothing is read yet.

        Args:
            base: The executor's own directory in bpffs.
            named: Lists the network namespaces to look into.
        """
        self._names = named
        self._base = base
        try:
            self._socket = IPRoute()
        except OSError as error:
            raise NetlinkFaultError(f"no netlink socket: {error}") from error
        self._named: dict[str, _Seen] = {}
        self._stale: set[str] = set()
        self._is_all_stale = True

    def forget(self, places: Iterable[str] | None) -> None:
        """These interfaces changed, so their namespaces are read again; None: all are.

        May be called in another thread.
        """
        if places is None:
            self._is_all_stale = True
        else:
            self._stale.update(split_place(place)[1] for place in places)

    def close(self) -> None:
        """The socket is gone."""
        self._socket.close()

    def survey(self, own: Collection[int] = ()) -> Surveyed:
        """All interfaces but loopback, by name; then those of named network namespaces.

        With them, which places for chains hold programs that are not in `own`.  A named namespace
        takes milliseconds to read and a host may have hundreds, so what nothing is known to have
        changed in is read again only from time to time.
        """
        stale, self._stale = self._stale, set()
        was_all_stale, self._is_all_stale = self._is_all_stale, False
        here, now = self._survey(self._socket, "", own), monotonic()
        kept: dict[str, _Seen] = {}
        for netns in self._names():
            known = self._named.get(netns)
            is_stale = was_all_stale or netns in stale
            if known is None or is_stale or now - known.at >= KEPT_SECONDS:
                with suppress(NamespaceGoneError):
                    kept[netns] = _Seen(self._survey_named(netns, own), now)
            else:
                kept[netns] = known
        self._named = kept
        parts = (here, *(kept[netns].surveyed for netns in sorted(kept)))
        return Surveyed(
            tuple(one for part in parts for one in part.interfaces),
            tuple(one for part in parts for one in part.taken),
        )

    def _survey_named(self, netns: str, own: Collection[int]) -> Surveyed:
        with inside(netns):
            try:
                with IPRoute() as route:
                    return self._survey(route, netns, own)
            except OSError as error:
                raise NetlinkFaultError(f"no netlink socket: {error}") from error

    def _survey(self, route: IPRoute, netns: str, own: Collection[int]) -> Surveyed:
        """Of the namespace that this thread is in and the socket was made in."""
        try:
            links = [one for one in route.get_links() if not one["flags"] & _IFF_LOOPBACK]
            links.sort(key=lambda one: str(one.get_attr("IFLA_IFNAME")))
            taken = taken_slots(route, links, netns=netns, base=self._base, own=own)
            routes = default_routes()
        except (NetlinkError, OSError) as error:
            raise NetlinkFaultError(f"interfaces cannot be listed: {error}") from error
        return Surveyed(_interfaces(links, routes, netns), taken)


_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
"""include/uapi/linux/if.h."""


def _interfaces(
    links: list[Any], routes: DefaultRoutes | None, netns: str
) -> tuple[Interface, ...]:
    driver_of = drivers([link.get_attr("IFLA_IFNAME") for link in links])
    features = xdp_features()
    return tuple(
        replace(
            _interface(link),
            driver=driver_of.get(link.get_attr("IFLA_IFNAME"), ""),
            xdp_features=features.get(link["index"]),
            default_routes=None if routes is None else routes.through(link["index"]),
            netns=netns,
        )
        for link in links
    )


def _interface(link: Any) -> Interface:
    information = link.get_attr("IFLA_LINKINFO")
    kind = information.get_attr("IFLA_INFO_KIND") if information else None
    return Interface(
        name=link.get_attr("IFLA_IFNAME"),
        index=link["index"],
        kind=kind or "",
        mac=link.get_attr("IFLA_ADDRESS") or "",
        mtu=link.get_attr("IFLA_MTU") or 0,
        up=bool(link["flags"] & _IFF_UP),
    )
