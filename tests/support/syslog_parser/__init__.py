# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Parsers that we did not write: of syslog messages (RFC 5424), and of the Common Event Format."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.go_programs import built_go_program

SOURCE = Path(__file__).with_name("main.go")
CEF_RULE = "version=2\nrule=:%f:cef%\n"


def parsed_syslog(lines: Sequence[str]) -> list[dict[str, Any]]:
    """What Go's parser of RFC 5424 (influxdata/go-syslog) finds in each line."""
    done = subprocess.run(
        [built_go_program(SOURCE)], input="".join(lines), capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def parsed_cef(lines: Sequence[str], directory: Path) -> list[dict[str, Any]]:
    """What rsyslog's parser of CEF (liblognorm) finds in each line."""
    rule = directory / "cef.rulebase"
    rule.write_text(CEF_RULE)
    done = subprocess.run(
        ["lognormalizer", "-r", str(rule)],
        input="".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line)["f"] for line in done.stdout.splitlines()]
