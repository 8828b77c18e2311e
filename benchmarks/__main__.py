# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks`: all benchmarks or those named, one after another, each in its process."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

NOT_BENCHMARKS: Final = {
    "__init__",
    "__main__",
    "chain_variants",
    "executor_stage",
    "many_nodes",
    "report",
    "services",
}


def claims() -> dict[str, str]:
    """Every benchmark, by name, with the first line of what it says it measures."""
    folder = Path(__file__).parent
    found = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem not in NOT_BENCHMARKS:
            words = ast.get_docstring(ast.parse(path.read_text())) or ""
            found[path.stem] = words.partition("\n")[0]
    return found


def parsed(words: Sequence[str], known: Mapping[str, str]) -> argparse.Namespace:
    """What the command line asks for; what there is not ends the process with status 2."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what is promised of speed and size. A missed target is no failure.",
        epilog="Benchmarks load programs into this kernel and start servers of their own: run as "
        "root, on a machine that does nothing else. Exit status 1: one could not be measured.",
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="which; left out: all. See --list")
    made.add_argument("--list", action="store_true", help="say what there is and measure nothing")
    made.add_argument("--json", action="store_true", help="print JSON, one object a benchmark")
    made.add_argument("--short", action="store_true", help="smaller sizes, where there are such")
    wanted = made.parse_args(words)
    if unknown := [name for name in wanted.names if name not in known]:
        made.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}")
    return wanted


def main(words: Sequence[str]) -> int:
    """Run them; the status is 1 if any could not be measured."""
    known = claims()
    wanted = parsed(words, known)
    names = list(dict.fromkeys(wanted.names or known))
    if wanted.list:
        listed = {name: known[name] for name in names}
        width = max(map(len, listed))
        lines = [f"{name:{width}}  {claim}" for name, claim in listed.items()]
        print(json.dumps(listed) if wanted.json else "\n".join(lines))
        return 0
    options = [f"--{option}" for option in ("json", "short") if getattr(wanted, option)]
    failed = []
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
