# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A witness in this process, behind real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.auditor.adapters.witness_client import WitnessClient
from services.auditor.checkpoint import render_verifier_key
from services.auditor.witness.adapters.http_server import Witness, WitnessServer
from services.auditor.witness.adapters.witness_directory import WitnessDirectory


@dataclass(frozen=True)
class RunningWitness:
    """Its key, and where it answers."""

    directory: WitnessDirectory
    url: str

    @property
    def key(self) -> str:
        """As verifiers and logs are told it."""
        return render_verifier_key(self.directory.key)

    @property
    def client(self) -> WitnessClient:
        """The side of a log."""
        return WitnessClient(self.directory.key, self.url)


@contextmanager
def a_witness(path: Path, *logs: str, name: str = "witness.example/w1") -> Iterator[RunningWitness]:
    """The witness in that directory, made if there is none."""
    if not path.exists():
        WitnessDirectory.create(path, name=name, logs=logs)
    directory = WitnessDirectory.read(path)
    with directory.locked(), WitnessServer("127.0.0.1", 0, Witness(directory)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield RunningWitness(directory, f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()
