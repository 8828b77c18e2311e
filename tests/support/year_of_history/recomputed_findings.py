# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which findings there were and what became of them, by a second reading of the stream.

Shares no code with the product.  A version's finding is not followed from event to event: at each
moment at which anything happened it is asked anew whether it is revoked, made pointless, waived.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.year_of_history.recomputed_log import Record

Key = tuple[str, ...]
History = list[tuple[str, str]]
"""Each state with the moment from which it held; states that lasted no time are left out."""
Lives = dict[Key, History]
Told = dict[str, Any]
Uses = dict[str, list[tuple[str, frozenset[str]]]]
"""Of each deployment from when on nodes may have which archives."""


def findings(records: Sequence[Record], at: str) -> Lives:
    """Every finding that opened up to a moment, with what became of it."""
    told = [as_told(one) for one in records]
    told = sorted((one for one in told if one["at"] <= at), key=lambda one: one["order"])
    waivers = waivers_in(told)
    in_use = _in_use(told)
    found = _versions(told, waivers, in_use, at)
    found |= _deployments(told, waivers, at)
    found |= _revoked(told, in_use)
    return found


def as_told(record: Record) -> Told:
    """The record, with what it is ordered and asked by."""
    event = record["event"]
    body = event["data"]
    return {
        **{name: body.get(name, "") for name in ("package", "version", "deployment")},
        "what": (event["emitter"], body["action"]),
        "number": record["number"],
        "at": event["time"],
        "order": (event["time"], event["emitter"], event["audience"], event["sequence"]),
        "space": event["audience"],
        "command": body.get("correlation", ""),
        "outcome": body["outcome"],
        "reasons": body.get("reasons", []),
        "details": body.get("details", {}),
    }


def waivers_in(told: Sequence[Told]) -> dict[str, Told]:
    """Each that was granted: for what, from when, and until when at last."""
    found: dict[str, Told] = {}
    for one in told:
        details = one["details"]
        if one["what"] == ("catalog", "waiver.grant"):
            scope = details["scope"]
            found[details["waiver"]] = {
                "rule": scope["rule"],
                "package": scope["package"],
                "version": scope["versions"].removeprefix("="),
                "space": scope.get("space", "public"),
                "from": one["at"],
                "until": details["expires_at"],
            }
        elif one["what"] in (("catalog", "waiver.end"), ("catalog", "waiver.revoke")):
            waiver = found.get(details["waiver"])
            if waiver is not None:
                waiver["until"] = min(waiver["until"], one["at"])
    return found


def excusing(waivers: dict[str, Told], rule: str, subject: Key, moment: str) -> list[str]:
    """Waivers of a rule for a version that are in force at a moment."""
    space, package, version = subject
    return [
        name
        for name, one in waivers.items()
        if (one["rule"], one["package"], one["version"]) == (rule, package, version)
        and one["space"] in ("public", space)
        and one["from"] <= moment < one["until"]
    ]


def _in_use(told: Sequence[Told]) -> Uses:
    """Of each deployment from when on nodes may have which archives."""
    found: Uses = {}
    commands: dict[str, frozenset[str]] = {}
    for one in told:
        emitter, action = one["what"]
        if emitter != "scheduler" or not action.startswith("deployment."):
            continue
        changes = found.setdefault(one["deployment"], [])
        now = changes[-1][1] if changes else frozenset()
        if action == "deployment.apply":
            commands[one["command"]] = frozenset({one["details"]["archive_sha256"]})
            changes.append((one["at"], now | commands[one["command"]]))
        elif action == "deployment.remove":
            commands[one["command"]] = frozenset()
        elif one["outcome"] == "succeeded":
            changes.append((one["at"], commands[one["command"]]))
    return found


def _has(changes: Sequence[tuple[str, frozenset[str]]], archive: str, moment: str) -> bool:
    before = [archives for at, archives in changes if at <= moment]
    return bool(before) and archive in before[-1]


def _versions(told: Sequence[Told], waivers: dict[str, Told], in_use: Uses, at: str) -> Lives:
    published: dict[Key, Told] = {}
    revoked: dict[Key, str] = {}
    moments: dict[str, set[str]] = {}
    for one in told:
        subject: Key = (one["space"], one["package"], one["version"])
        moments.setdefault(one["package"], set()).add(one["at"])
        if one["what"] == ("catalog", "package.publish") and one["outcome"] == "accepted":
            published[subject] = {**one, "broken": _broken(one)}
        elif one["what"] == ("catalog", "package.revoke"):
            revoked[subject] = one["at"]
    for waiver in waivers.values():
        moments.setdefault(waiver["package"], set()).add(waiver["until"])

    def state(subject: Key, rule: str, moment: str) -> str:
        archive = published[subject]["details"]["archive_sha256"]
        is_newer = any(
            other[:2] == subject[:2]
            and _number(other[2]) > _number(subject[2])
            and one["at"] <= moment < revoked.get(other, "9999")
            and rule not in one["broken"]
            for other, one in published.items()
        )
        is_had = any(_has(changes, archive, moment) for changes in in_use.values())
        if revoked.get(subject, "9999") <= moment or (is_newer and not is_had):
            return "resolved"
        return "waived" if excusing(waivers, rule, subject, moment) else "open"

    found: Lives = {}
    for subject, rule in [(key, rule) for key, one in published.items() for rule in one["broken"]]:
        history = found["version-rule", *subject, rule] = []
        for moment in sorted(moments[subject[1]]):
            if published[subject]["at"] <= moment <= at:
                _add(history, state(subject, rule, moment), moment)
    return found


def _broken(one: Told) -> set[str]:
    """Rules that were for review or refused when it was published."""
    judged = one["details"]["licences"]["findings"]
    return {finding["rule"] for finding in judged if finding["outcome"] in ("review", "refused")}


class _Deployments:
    """What the scheduler says, and between its words the ends of waivers."""

    def __init__(self, waivers: dict[str, Told]) -> None:
        self.waivers = waivers
        self.found: Lives = {}
        self.by: dict[Key, set[str]] = {}
        self.subjects: dict[Key, Key] = {}
        self.needed: dict[str, set[str]] = {}
        self.removals: set[str] = set()

    def hear(self, one: Told) -> None:
        """The next word."""
        emitter, action = one["what"]
        if action == "end":
            self._ended(one)
        elif emitter == "scheduler":
            if action == "deployment.remove":
                self.removals.add(one["command"])
            if action in ("waiver.use", "licence.violate"):
                self._named(one, is_use=action == "waiver.use")
            if action in ("licence.violate", "licence.comply"):
                self._settled(one)
            if action == "deployment.complete":
                self._completed(one)

    def _ended(self, one: Told) -> None:
        for key, history in self.found.items():
            if one["waiver"] not in self.by[key]:
                continue
            self.by[key].discard(one["waiver"])
            if history[-1][0] == "waived" and not self.by[key]:
                excused = excusing(self.waivers, key[2], self.subjects[key], one["at"])
                _add(history, "waived" if excused else "open", one["at"])

    def _named(self, one: Told, *, is_use: bool) -> None:
        for rule in one["details"]["rules"]:
            key = ("deployment-rule", one["deployment"], rule)
            self.subjects[key] = (one["space"], one["package"], one["version"])
            held = self.by.setdefault(key, set())
            if is_use:
                held.add(one["details"]["waiver"])
                self.needed.setdefault(one["command"], set()).add(rule)
            else:
                held.clear()
            _add(self.found.setdefault(key, []), "waived" if is_use else "open", one["at"])

    def _settled(self, one: Told) -> None:
        for key, history in self._of(one):
            if history[-1][0] == "open" and key[2] not in one["details"]["rules"]:
                self.by[key] = {
                    name
                    for name in one["details"]["waivers"]
                    if self.waivers[name]["rule"] == key[2]
                    and self.waivers[name]["from"] <= one["at"] < self.waivers[name]["until"]
                }
                _add(history, "waived" if self.by[key] else "resolved", one["at"])

    def _completed(self, one: Told) -> None:
        needed = self.needed.get(one["command"], ())
        for key, history in self._of(one):
            is_over = history[-1][0] == "waived" and key[2] not in needed
            if is_over or one["command"] in self.removals:
                self.by[key].clear()
                _add(history, "resolved", one["at"])

    def _of(self, one: Told) -> list[tuple[Key, History]]:
        return [(key, told) for key, told in self.found.items() if key[1] == one["deployment"]]


def _deployments(told: Sequence[Told], waivers: dict[str, Told], at: str) -> Lives:
    ends = [
        {"what": ("", "end"), "at": one["until"], "order": (one["until"],), "waiver": name}
        for name, one in waivers.items()
        if one["until"] <= at
    ]
    lives = _Deployments(waivers)
    for one in sorted([*told, *ends], key=lambda one: one["order"]):
        lives.hear(one)
    return lives.found


def _revoked(told: Sequence[Told], in_use: Uses) -> Lives:
    """What was revoked and may be had, from whichever came last."""
    found: Lives = {}
    for one in told:
        if one["what"] != ("catalog", "package.revoke"):
            continue
        archive = next(
            other["details"]["archive_sha256"]
            for other in told
            if other["what"] == ("catalog", "package.publish")
            and other["outcome"] == "accepted"
            and all(other[name] == one[name] for name in ("space", "package", "version"))
        )
        for deployment, changes in in_use.items():
            history: History = []
            moments = sorted({one["at"], *(at for at, _ in changes if at > one["at"])})
            for moment in moments:
                is_had = _has(changes, archive, moment)
                if is_had or history:
                    _add(history, "open" if is_had else "resolved", moment)
            if history:
                found["revoked-runs", deployment, archive] = history
    return found


def _add(history: History, state: str, moment: str) -> None:
    if history and history[-1][1] == moment:
        history.pop()
    if not history or history[-1][0] != state:
        history.append((state, moment))


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
