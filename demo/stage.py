# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the story plays on: a lab, an installation of its own, the services as processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from demo.narration import Narrator
from lab.hosts import Host, Lab
from lab.measurement import counting, send
from lab.traffic import Counted, Sent

COMMAND: Final = str(Path(sys.executable).parent / "l3af")
PREFIX: Final = "l3afdemo"
START_SECONDS: Final = 60
ROOT: Final = Path(__file__).parents[1]


class StageError(Exception):
    """The story cannot go on: a part did not start, or a command failed that had to work."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command of the product answered."""

    status: int
    output: Any
    """The decoded JSON: the result, or the refusal; None if there was none."""
    message: str
    """Standard error."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One burst of packets, counted at both ends."""

    sent: Sent
    passed: Counted

    @property
    def sent_count(self) -> int:
        """SYNs that left the peer."""
        return self.sent.sent

    @property
    def passed_count(self) -> int:
        """SYNs that the host's IP layer received."""
        return self.passed.counted

    def sent_to(self, port: int) -> int:
        """SYNs that left the peer for this port."""
        return self.sent.sent_by_port.get(port, 0)

    def passed_to(self, port: int) -> int:
        """SYNs for this port that the host's IP layer received."""
        return self.passed.counted_by_port.get(port, 0)


class Stage:
    """Runs the product's commands and sends packets."""

    def __init__(self, *, folder: Path, lab: Lab, narrator: Narrator) -> None:
        self.folder = folder
        self.installation = folder / "installation"
        self.lab = lab
        self.narrator = narrator
        self._environment = os.environ | {
            "L3AF_INSTALLATION": str(self.installation),
            "PYTHONUNBUFFERED": "1",
        }

    def l3af(self, *words: str, show: bool = True) -> Answer:
        """Run the command with `--json`; the status says whether it was accepted."""
        if show:
            self.narrator.command(["l3af", *(self._short(word) for word in words)])
        ended = subprocess.run(
            [COMMAND, *words, "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        output = None
        with suppress(ValueError):
            output = json.loads(ended.stdout or ended.stderr)
        return Answer(status=ended.returncode, output=output, message=ended.stderr.strip())

    def must(self, *words: str, show: bool = True) -> Any:
        """The output of a command that has to work.

        Raises:
            StageError: It did not.
        """
        answer = self.l3af(*words, show=show)
        if answer.status != 0:
            raise StageError(f"l3af {' '.join(words)}: {answer.message or answer.output}")
        return answer.output

    def document(self, name: str, text: str) -> Path:
        """A deployment file that the reader sees."""
        path = self.folder / name
        path.write_text(text)
        return path

    def measure(self, host: Host, *, ports: tuple[int, ...], rate: float, count: int) -> Measured:
        """Send SYNs to the ports in turn and count those that get past the host's hooks."""
        with counting(host, ports=ports) as arrivals:
            sent = send(host, ports=ports, rate=rate, count=count)
            wait_until_quiet()
        return Measured(sent=sent, passed=arrivals.result())

    @contextmanager
    def steady_traffic(
        self, host: Host, *, ports: tuple[int, ...], rate: float, count: int
    ) -> Iterator[list[Measured]]:
        """SYNs flow while the block runs; at its end all were sent and counted."""
        measured: list[Measured] = []
        sender = threading.Thread(
            target=lambda: measured.append(self.measure(host, ports=ports, rate=rate, count=count))
        )
        sender.start()
        sleep(0.3)
        try:
            yield measured
        finally:
            sender.join()

    def _short(self, word: str) -> str:
        return word.replace(f"{self.folder}/", "").replace(f"{ROOT}/", "")


def wait_until_quiet() -> None:
    """Give the last packets of a burst the time to cross a veth pair."""
    sleep(0.1)


@contextmanager
def running_services(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    """`l3af up` with one executor in each host of the lab, ready to be asked."""
    nodes = [
        word
        for host in stage.lab.hosts
        for word in ("--node", f"host-{host.number}@{host.namespace}")
    ]
    ready_file = stage.folder / "ready.json"
    log = (stage.folder / "up.log").open("w")
    words = ["up", "--installation", str(stage.installation), *nodes]
    stage.narrator.command(["l3af", *words[:1], *nodes])
    with (
        log,
        subprocess.Popen(
            [COMMAND, *words, "--ready-file", str(ready_file)],
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            deadline = monotonic() + START_SECONDS
            with stage.narrator.waiting("starting nats-server and the services"):
                while not ready_file.exists():
                    if process.poll() is not None or monotonic() > deadline:
                        tail = (stage.folder / "up.log").read_text()[-2000:]
                        raise StageError(f"the services did not start:\n{tail}")
                    sleep(0.05)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            if process.poll() is None:
                process.kill()


@contextmanager
def working_folder() -> Iterator[Path]:
    """A private folder that is removed at the end: it holds keys."""
    folder = Path(tempfile.mkdtemp(prefix="l3af-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
