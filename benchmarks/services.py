# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A new installation's server and some of its services, for the length of a measurement."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from installation.layout import Layout

READY_SECONDS: Final = 60.0


@contextmanager
def running_bus(folder: Path, *services: str) -> Iterator[Layout]:
    """A new installation's server with its streams and these services, as `l3af up` runs them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root, ready = folder / "installation", folder / "ready"
    command: list[str | Path] = [
        Path(sys.executable).parent / "l3af",
        "up",
        "--installation",
        root,
        "--no-node",
    ]
    for process_name in ("nats-server", "provisioner", *services):
        command += ["--only", process_name]
    command += ["--listen", f"127.0.0.1:{port}", "--ready-file", ready]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "up.log").read_text())
            time.sleep(0.05)
        yield Layout(root)
    finally:
        process.terminate()
        process.wait()
