# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What another policy pack would have said, by a second reading of the stream.

Shares no code with the product.  A version is found by the archive that a deployment names, and
whether it was refused for its licences alone by counting: as many reasons as there are findings
that refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.support.year_of_history.recomputed_findings import (
    Key,
    Told,
    as_told,
    excusing,
    waivers_in,
)
from tests.support.year_of_history.recomputed_log import Record

Verdict = dict[str, Any]
GRAVITY: Final = ("passed", "noted", "review", "refused")
TAKEN: Final[dict[str, frozenset[str] | None]] = {
    "gpl-ok": None,
    "permissive-only": frozenset({"Apache-2.0", "BSD-2-Clause", "MIT"}),
}
"""Of the licences of the year those that a pack takes for kernel code; None: all."""
JUDGED: Final = {
    ("catalog", "package.publish"),
    ("catalog", "package.promote"),
    ("scheduler", "deployment.apply"),
}


def replayed(
    records: Sequence[Record], pack: str, *, since: str, until: str
) -> dict[int, dict[str, Any]]:
    """By record: what each event of the range came to, and what it would have come to."""
    told = sorted((as_told(one) for one in records), key=lambda one: one["order"])
    waivers = waivers_in(told)
    published = {
        one["details"]["archive_sha256"]: one
        for one in told
        if one["what"] == ("catalog", "package.publish") and one["outcome"] == "accepted"
    }
    versions = {_subject(one): one for one in published.values()}
    found = {}
    for one in told:
        if one["what"] not in JUDGED or not since <= one["at"] < until:
            continue
        version = one
        if one["what"][1] == "deployment.apply":
            version = published[one["details"]["archive_sha256"]]
        elif one["what"][1] == "package.promote":
            version = versions[_subject(one)]
        found[one["number"]] = _compared(one, version, _judged(version, pack, waivers, one["at"]))
    return found


def _subject(one: Told) -> Key:
    return (one["space"], one["package"], one["version"])


def _judged(version: Told, pack: str, waivers: dict[str, Told], moment: str) -> list[Verdict]:
    """Everything that the pack finds, each with the waiver that excuses it then."""
    found = [
        {"rule": one["rule"], "outcome": one["outcome"]}
        for one in version["details"]["licences"]["findings"]
        if not one["rule"].startswith("policy-")
    ]
    facts, taken = version["details"]["licence_facts"], TAKEN[pack]
    assert set(facts) <= {"licence", "platforms"}  # of kernel code, for Linux: nothing else to ask
    choices = [set(one.strip("()").split(" AND ")) for one in facts["licence"].split(" OR ")]
    if taken is not None and not any(choice <= taken for choice in choices):
        found.append({"rule": "policy-groups", "outcome": "refused"})
    for one in found:
        is_grave = one["outcome"] in ("review", "refused")
        excuses = excusing(waivers, one["rule"], _subject(version), moment) if is_grave else []
        one["waiver"] = min(excuses, default="")
    return found


def _gravest(findings: Sequence[Verdict]) -> str:
    outcomes = ("noted" if one.get("waiver") else one["outcome"] for one in findings)
    return max(outcomes, key=GRAVITY.index, default="passed")


def _compared(one: Told, version: Told, would: Sequence[Verdict]) -> dict[str, Any]:
    recorded = version["details"]["licences"]["findings"]
    was, would_be = _gravest(recorded), _gravest(would)
    is_refused = one["outcome"] == "refused"
    refusing = [one for one in recorded if _gravest([one]) == "refused"]
    change = "same"
    if is_refused:
        if len(one["reasons"]) == len(refusing) and would_be != "refused":
            change = "would-accept"
    elif would_be == "refused":
        change = "would-refuse"
    elif "review" in (was, would_be) and was != would_be:
        change = "would-pass" if was == "review" else "would-review"
    return {
        "at": one["at"],
        "action": one["what"][1],
        "version": _subject(version),
        "was_refused": is_refused,
        "was": was,
        "would": would_be,
        "change": change,
        "rules": {one["rule"] for one in would if _gravest([one]) in ("review", "refused")},
        "waivers": {one["waiver"] for one in would if one["waiver"]},
    }
