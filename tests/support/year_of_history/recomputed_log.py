# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran where, read a second time from the stream's bytes; shares no code with the product.

Written from docs/audit.md: plain dicts, the standard library, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

Record = dict[str, Any]
"""`number`, `event` as JSON has it, and whether it is `believed`."""
Word = dict[str, Any]
"""What one record says of one place."""
Place = tuple[str, str, str, str]
"""Node, network namespace, interface, hook; of a whole node the last three are empty."""

Said = dict[Place, dict[str, list[Word]]]
"""Of each place and audience what was said, oldest first."""
Ran = dict[str, Any]
"""What ran on a place, since when, and which record says so."""

_MADE = ("chain.attach", "chain.configure", "chain.detach")
_FOUND = ("chain.adopt", "chain.drift", "chain.orphan", "node.snapshot", "state.rebuild")


def recorded(stream: Iterable[tuple[str, str, bytes]]) -> list[Record]:
    """The records that a stream leads to: subject, message id and bytes, in order."""
    known: dict[tuple[str, str], bytes] = {}
    kept: set[tuple[str, str]] = set()
    records: list[Record] = []
    for subject, message_id, data in stream:
        event = json.loads(data)
        key = (event["emitter"], event["id"])
        spoken = ".".join(
            [
                "l3af.v1.evt",
                event["audience"],
                event["emitter"].replace("/", "."),
                event["data"]["action"],
            ]
        )
        believed = spoken == subject == event["subject"] and message_id == event["id"]
        if believed and known.setdefault(key, data) != data:
            believed = False  # the id of another event
        elif believed and key in kept:
            continue  # it came twice
        elif believed:
            kept.add(key)
        records.append({"number": len(records), "event": event, "believed": believed})
    return records


def seen_by(records: Sequence[Record], audiences: Iterable[str]) -> list[Record]:
    """Those that whoever sees these audiences can read."""
    allowed = set(audiences)
    return [one for one in records if one["believed"] and one["event"]["audience"] in allowed]


def words_of(records: Sequence[Record]) -> Said:
    """Of each place and audience what was said, oldest first, with the moment it holds from."""
    said: Said = {}
    for record in records:
        event = record["event"]
        body = event["data"]
        if not event["emitter"].startswith("node/") or body["action"] not in _MADE + _FOUND:
            continue
        node = event["emitter"][len("node/") :]
        heard: set[Place] = set()
        for place, reading in _readings(node, body):
            if place in heard:
                continue
            heard.add(place)
            said.setdefault(place, {}).setdefault(event["audience"], []).append(
                {
                    "place": place,
                    "order": (event["sequence"], record["number"]),
                    "record": record["number"],
                    "time": event["time"],
                    "from": event["time"],
                    "audience": event["audience"],
                    "found": body["action"] in _FOUND,
                    "reading": reading,
                    "body": body,
                }
            )
    for told in said.values():
        for words in told.values():
            words.sort(key=lambda word: word["order"])
            earliest = "9999"
            for word in reversed(words):
                earliest = word["from"] = min(earliest, word["time"])
    return said


def ran_at(said: Said, moment: str) -> dict[Place, Ran]:
    """What ran at a moment (RFC 3339 UTC with microseconds) on each place where something did."""
    places = (place for place in said if place[3])
    found = {place: ran_on(said, place, moment) for place in places}
    return {place: ran for place, ran in found.items() if ran is not None}


def ran_on(said: Said, place: Place, moment: str) -> Ran | None:
    """What ran then on one place; None: nothing of ours."""
    lost = _last(said.get((place[0], "", "", ""), {}), moment, found=True)
    made = _since(_last(said[place], moment, found=False), lost)
    found = _since(_last(said[place], moment, found=True), lost)
    return _answer(made, found)


def runs_of(said: Said, digest: str) -> list[tuple[Any, ...]]:
    """Place, since, until, record and ending record of each run of a digest; of one audience."""
    runs: list[tuple[Any, ...]] = []
    for place, told in sorted(said.items()):
        if not place[3]:
            continue
        (audience,) = told  # who sees several is not asked about here
        lost = said.get((place[0], "", "", ""), {}).get(audience, [])
        begun: Word | None = None
        for word in sorted([*told[audience], *lost], key=lambda word: word["order"]):
            runs_here = digest in digests_of(word["reading"])
            if begun is None and runs_here:
                begun = word
            elif begun is not None and not runs_here:
                until = max(word["from"], begun["from"])
                runs.append((place, begun["from"], until, begun["record"], word["record"]))
                begun = None
        if begun is not None:
            runs.append((place, begun["from"], "", begun["record"], None))
    return runs


def digests_of(reading: dict[str, Any]) -> set[str]:
    """Of everything that the reading says runs."""
    if not reading.get("program_id"):
        return set()
    found = {reading.get("program_tag", ""), reading.get("plan_sha256", "")}
    for program in reading.get("running") or []:
        found |= {program.get("archive_sha256", ""), program.get("object_sha256", "")}
    return found - {""}


def chain_of(reading: dict[str, Any]) -> list[str]:
    """As `package@version`, first to run first."""
    return [f"{one['package']}@{one['version']}" for one in reading.get("running") or []]


def instant(moment: datetime) -> str:
    """As events say it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _readings(node: str, body: dict[str, Any]) -> Iterable[tuple[Place, dict[str, Any]]]:
    if body["action"] == "state.rebuild":
        yield (node, "", "", ""), {"running": []}
    elif body["action"] == "node.snapshot":
        for one in body["details"]["hook_points"]:
            yield (node, one.get("netns", ""), one["interface"], one["hook"]), one
    else:
        place = (node, body.get("netns", ""), body["interface"], body["hook"])
        yield place, body["details"]


def _last(told: dict[str, list[Word]], moment: str, *, found: bool) -> Word | None:
    """The newest word of the kind that holds at the moment; between audiences by the clock."""
    newest: Word | None = None
    for audience in sorted(told):
        held = [
            word for word in told[audience] if word["from"] <= moment and word["found"] == found
        ]
        if held and (newest is None or newest["from"] <= held[-1]["from"]):
            newest = held[-1]
    return newest


def _since(word: Word | None, lost: Word | None) -> Word | None:
    if word is None or lost is None or _follows(word, lost):
        return word
    return None


def _follows(word: Word, other: Word) -> bool:
    if word["audience"] == other["audience"]:
        return bool(word["order"] > other["order"])
    return bool((word["from"], word["audience"]) > (other["from"], other["audience"]))


def _answer(made: Word | None, found: Word | None) -> Ran | None:
    if found is not None and made is not None and _follows(made, found):
        found = None
    if found is None:
        if made is None or not made["reading"].get("program_id"):
            return None
        return _entry(made, "change")
    if not found["reading"].get("program_id"):
        return None
    if made is not None and _same(made["reading"], found["reading"]):
        return {**_entry(made, "change"), "confirmed": found["record"]}
    return {**_entry(found, "observation"), "actor": ""}


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def chain(reading: dict[str, Any]) -> Any:
        if not reading.get("program_id"):
            return None
        names = ("deployment", "package", "version", "program", "archive_sha256")
        running = reading.get("running") or []
        programs = [[program.get(name, "") for name in names] for program in running]
        return programs, reading["program_tag"]

    return bool(chain(one) == chain(other))


def _entry(word: Word, source: str) -> Ran:
    return {
        "source": source,
        "since": word["from"],
        "record": word["record"],
        "confirmed": None,
        "actor": (word["body"].get("actor") or {}).get("key", ""),
        "reading": word["reading"],
    }
