# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When frames that were sent over a veth pair have been received.

The sender's own processor receives them as it leaves the send call, or leaves that to its ksoftirqd
when it had much to do (Documentation/networking/napi.rst): then counters are read too early.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

REST_SECONDS = 30.0


@cache
def _threads() -> tuple[Path, ...]:
    """The state of every ksoftirqd."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().startswith("ksoftirqd/"):
                found.append(comm.with_name("stat"))
        except OSError:
            continue  # a process that just ended
    return tuple(found)


def wait_until_received() -> None:
    """No processor has frames left that were sent before."""
    deadline = time.monotonic() + REST_SECONDS
    for path in _threads():
        while path.read_text().rpartition(")")[2].split()[0] == "R":
            assert time.monotonic() < deadline, f"{path} does not come to rest"
            time.sleep(0.0005)
