# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the kernel for the default routes of the network namespace that this thread is in.

pyroute2 reads a table as a whole, and a router's has a million routes.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

from services.node_executor.route_messages import (
    FAMILIES,
    MAX_ROUTES,
    DefaultRoutes,
    dump_request,
)

_SOL_NETLINK: Final = 270
_STRICT: Final = 12
"""include/uapi/linux/netlink.h: NETLINK_GET_STRICT_CHK, so that the kernel itself picks a table."""
_BYTES: Final = 1 << 16
_SECONDS: Final = 2.0


def default_routes() -> DefaultRoutes | None:
    """Where they leave; None: the table is too long, or the kernel does not answer."""
    found = DefaultRoutes()
    for family in FAMILIES:
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
                asked.settimeout(_SECONDS)
                with suppress(OSError):  # before Linux 4.20
                    asked.setsockopt(_SOL_NETLINK, _STRICT, 1)
                asked.send(dump_request(family))
                while found.take(family, asked.recv(_BYTES)):
                    if found.routes > MAX_ROUTES:
                        return None
        except OSError:
            return None
    return found
