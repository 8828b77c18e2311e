# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m demo [--keep]`: status 0 if every claim held, 1 if one did not."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console

from demo.narration import Narrator
from demo.stage import PREFIX, Stage, StageError, running_services, working_folder
from demo.story import CHAPTERS, Story
from lab.hosts import LabError, create_lab

PINS: Final = Path("/sys/fs/bpf/l3af-demo")


def main() -> int:
    """Tell the story on a stage of its own and leave nothing behind."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the system up to play with")
    keep = parser.parse_args().keep
    _end_on_sigterm()
    console = Console(width=min(Console().width, 120) if sys.stdout.isatty() else 110)
    if os.geteuid() != 0:
        console.print(
            "the demo loads programs into the kernel and makes network namespaces: run it as root"
        )
        return 2
    os.environ["NODE_EXECUTOR_BPFFS_DIR"] = str(PINS)
    narrator = Narrator(console, steps=CHAPTERS)
    try:
        with ExitStack() as cleanup:
            folder = cleanup.enter_context(working_folder())
            cleanup.callback(shutil.rmtree, PINS, ignore_errors=True)
            lab = cleanup.enter_context(create_lab(PREFIX, 2))
            stage = Stage(folder=folder, lab=lab, narrator=narrator)
            stage.must(
                "init",
                str(stage.installation),
                "--listen",
                f"{lab.management_address}:4222",
            )
            cleanup.enter_context(running_services(stage))
            Story(stage, narrator).tell()
            if keep:
                _play(console, stage)
    except (StageError, LabError) as error:
        console.print(f"[bold red]the demo stopped:[/] {error}", markup=True, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    console.print()
    if narrator.failed_claims:
        console.print(f"[bold red]{len(narrator.failed_claims)} claims did not hold:[/]")
        for claim in narrator.failed_claims:
            console.print(f"  ✘ {claim}")
        return 1
    console.print(
        f"[bold green]All {narrator.claims_shown} claims held.[/] Everything was cleaned up."
    )
    return 0


def _end_on_sigterm() -> None:
    """SIGTERM ends the story with its cleaning up; in a forked helper it just ends the helper."""
    storyteller = os.getpid()

    def on_sigterm(_number: int, _frame: FrameType | None) -> None:
        if os.getpid() == storyteller:
            raise KeyboardInterrupt
        os._exit(0)

    signal.signal(signal.SIGTERM, on_sigterm)


def _play(console: Console, stage: Stage) -> None:
    """Wait until the reader has played enough."""
    console.print()
    console.print("[bold]The system is up.[/] In another terminal (as root):")
    console.print(f"  export L3AF_INSTALLATION={stage.installation}")
    console.print("  .venv/bin/l3af status")
    console.print("Press Ctrl-C here to stop it and clean up.")
    with suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
