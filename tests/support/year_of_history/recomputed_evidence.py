# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which records answer each requirement of a checklist, by a second reading of the stream.

Shares no code with the product: a predicate over the event's JSON for each requirement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.support.year_of_history.recomputed_log import Record

Body = dict[str, Any]


def _is(*actions: str) -> Callable[[Body], bool]:
    return lambda body: body["action"] in actions


def _published(outcome: str) -> Callable[[Body], bool]:
    return lambda body: body["action"] == "package.publish" and body["outcome"] == outcome


ANSWERS: Final[dict[tuple[str, str], Callable[[Body], bool]]] = {
    ("pci-dss", "10.2.1"): _is("log.checkpoint"),
    ("pci-dss", "10.2.1.1"): _is("log.read"),
    ("pci-dss", "10.2.1.2"): lambda body: (
        (body.get("actor") or {}).get("role") == "administrator"
        and body["outcome"] in ("accepted", "refused")
    ),
    ("pci-dss", "10.2.1.3"): _is("log.read"),
    ("pci-dss", "10.2.1.4"): lambda body: body["outcome"] == "refused",
    ("pci-dss", "10.2.1.5"): _is(
        "trust.set", "owners.set", "space.create", "space.update", "space.lift", "log.key"
    ),
    ("pci-dss", "10.2.1.6"): _is("log.gap", "state.rebuild", "journal.resume", "node.mode"),
    ("pci-dss", "10.2.1.7"): lambda body: body["action"].startswith("chain."),
    ("pci-dss", "10.2.2"): lambda body: (
        body["outcome"] in ("accepted", "refused")
        and not body.get("actor")
        and body["emitter"] in ("catalog", "scheduler", "auditor")
    ),
    ("pci-dss", "10.3.2"): _is("log.conflict"),
    ("pci-dss", "10.4.1"): _is("log.read"),
    ("pci-dss", "10.4.1.1"): _is("watch.alert"),
    ("pci-dss", "10.7.1"): _is("log.alarm", "log.recover"),
    ("pci-dss", "10.7.2"): lambda body: (
        body["action"] in ("chain.drift", "node.drift", "companion.give-up", "state.rebuild")
        or (body["action"].startswith("chain.") and body["outcome"] == "failed")
    ),
    ("openchain", "3.1.5"): _published("accepted"),
    ("openchain", "3.2.2"): _is("licence.violate", "licence.comply"),
    ("openchain", "3.2.2.5"): lambda body: body["action"].startswith("waiver."),
    ("openchain", "3.3.1"): _published("accepted"),
    ("openchain", "3.3.2"): _published("refused"),
    ("openchain", "3.4.1"): _published("accepted"),
}


def answering(
    records: Sequence[Record], standard: str, number: str, *, since: str, until: str
) -> list[int]:
    """Numbers of the believed records that answer a requirement, newest first."""
    answers = ANSWERS[standard, number]
    found = [
        one["number"]
        for one in records
        if since <= one["event"]["time"] < until
        and answers({**one["event"]["data"], "emitter": one["event"]["emitter"]})
    ]
    return sorted(found, reverse=True)
