# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node reports of a candidate's trial.

Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.contracts.package_tests import PackageTested, PackageTestResult
from shared.contracts.verification import ProgramVerified, VerificationReport

MAX_PROBLEM_CHARACTERS: Final = 300
MAX_NAME_CHARACTERS: Final = 200


def passed_or_not(report: VerificationReport, tested: PackageTested) -> VerificationReport:
    """The report with what became of each test: one that did not pass is enough to fail."""
    return msgspec.structs.replace(
        report,
        outcome="passed" if tested.has_passed else "failed",
        results=tuple(map(_verified, tested.results)),
    )


def could_not_be_tried(report: VerificationReport, problem: str) -> VerificationReport:
    """The report of a candidate whose trial came to nothing, and that is to blame for it."""
    return msgspec.structs.replace(report, outcome="failed", problem=_cut(problem))


def first_problem(result: PackageTestResult) -> str:
    """The verifier's own error, or the first thing that is not as the test says."""
    if result.problem:
        return _cut(result.problem)
    if result.differences:
        first = result.differences[0]
        expected = msgspec.json.encode(first.expected).decode()
        got = msgspec.json.encode(first.got).decode()
        return _cut(f"{first.place}: expected {expected}, got {got}")
    return ""


def _verified(result: PackageTestResult) -> ProgramVerified:
    return ProgramVerified(
        test=result.name[:MAX_NAME_CHARACTERS],
        program=result.program,
        hook=result.hook,
        has_passed=result.has_passed,
        packets=result.packets,
        verified_instructions=result.verified_instructions,
        ns_per_packet=result.ns_per_packet,
        problem=first_problem(result),
    )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return (
        line if len(line) <= MAX_PROBLEM_CHARACTERS else line[: MAX_PROBLEM_CHARACTERS - 3] + "..."
    )
