# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m lab up|down|show`: a lab that stays until it is taken down."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from lab.hosts import LabError, find_lab, raise_lab, remove_lab, render_command


def main() -> int:
    """Exit status 0: done; 1: `show` found none; 3: the kernel or the arguments said no."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "show"))
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--prefix", default="lab")
    arguments = parser.parse_args()
    try:
        if arguments.action == "down":
            remove_lab(arguments.prefix)
            return 0
        if arguments.action == "up":
            raise_lab(arguments.prefix, arguments.hosts)
        lab = find_lab(arguments.prefix)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 3
    if lab is None:
        sys.stderr.write(f"lab: none is up under the prefix {arguments.prefix!r}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(lab), indent=2) + "\n")
    for host in lab.hosts:
        sys.stderr.write(f"host {host.number}: {render_command(host.command('bash'))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
