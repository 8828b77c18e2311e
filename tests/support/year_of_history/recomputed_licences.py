# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Under which licences what ran, by a second reading of the stream.

Shares no code with the product.  Every place is asked what it ran at each moment at which anything
was said of it or of its node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from tests.support.year_of_history.recomputed_log import Place, Record, Said, ran_on

Program = dict[str, Any]
Row = dict[str, Any]
Key = tuple[str, ...]
FOREVER: Final = "9999-12-31T23:59:59.999999Z"

GPL_2: Final = {
    "source": "GPL-2.0 section 3",
    "licence text": "GPL-2.0 section 1",
    "attribution": "GPL-2.0 section 1",
    "state changes": "GPL-2.0 section 2(a)",
    "same licence": "GPL-2.0 section 2(b)",
}
BSD_2: Final = "BSD-2-Clause conditions 1 and 2"
MIT: Final = "MIT second paragraph"
ASKS: Final[dict[str, dict[str, str]]] = {
    "GPL-2.0-only": GPL_2,
    "GPL-2.0-or-later": GPL_2,
    "Apache-2.0": {
        "licence text": "Apache-2.0 section 4(a)",
        "state changes": "Apache-2.0 section 4(b)",
        "attribution": "Apache-2.0 section 4(c)",
        "notice file": "Apache-2.0 section 4(d)",
        "patent clause": "Apache-2.0 section 3",
    },
    "BSD-2-Clause": {"licence text": BSD_2, "attribution": BSD_2, "disclaimer": BSD_2},
    "MIT": {"licence text": MIT, "attribution": MIT, "disclaimer": MIT},
}
"""What the licences of the year ask of whoever hands code on, and where they say so."""


def by_licence(program: Program) -> Iterator[Key]:
    """The choice that was taken, and what it was taken of."""
    licence = program["licence"]
    declared, elected = licence.get("declared", ""), licence.get("elected", "")
    yield (elected or declared, declared, elected)


def by_package(program: Program) -> Iterator[Key]:
    """Its name."""
    yield (program["package"],)


def by_obligation(program: Program) -> Iterator[Key]:
    """Each thing that is asked for, by which licence, and where."""
    licence = program["licence"]
    taken = licence.get("elected", "") or licence.get("declared", "")
    for name in taken.replace(" AND ", " OR ").split(" OR "):
        for obligation, clause in ASKS[name].items():
            yield (obligation, name, clause)


Stretch = tuple[Place, str, str, list[Program], int]
"""A place, from when to when one chain ran there, and the record that said so first."""


def stretches_of(said: Said, *, since: str, until: str) -> list[Stretch]:
    """All that ran within a range of time."""
    return [
        (place, *one)
        for place in sorted(said)
        if place[3]
        for one in _stretches(said, place, since, until)
    ]


def licence_rows(
    stretches: Iterable[Stretch], keys: Callable[[Program], Iterable[Key]], *, until: str
) -> dict[Key, Row]:
    """Each row of the report for what ran within a range of time that ends then."""
    rows: dict[Key, Row] = {}
    for place, begin, end, running, record in stretches:
        for key in {key: None for program in running for key in keys(program)}:
            row = rows.setdefault(
                key, {"told": [], "programs": [], "ends": [], "times": {}, "points": {}}
            )
            row["told"].append((begin, record))
            row["ends"].append(end)
            row["times"].setdefault(place[0], []).append((begin, end))
            row["points"].setdefault(place, []).append((begin, end))
            row["programs"] += [one for one in running if key in set(keys(one))]
    return {key: _finished(row, until) for key, row in rows.items()}


def _stretches(
    said: Said, place: Place, since: str, until: str
) -> Iterator[tuple[str, str, list[Program], int]]:
    """From when to when one chain ran within the range, and the record that said so first."""
    told = [*said[place].values(), *said.get((place[0], "", "", ""), {}).values()]
    moments = sorted({word["from"] for words in told for word in words})
    stretches: list[list[Any]] = []
    for moment, following in pairwise([*moments, FOREVER]):
        ran = ran_on(said, place, moment)
        if ran is None:
            continue
        chain = _chain(ran["reading"])
        if stretches and stretches[-1][1] == moment and stretches[-1][4] == chain:
            stretches[-1][1] = following
        else:
            running = ran["reading"].get("running") or []
            stretches.append([moment, following, running, ran["record"], chain])
    for begin, end, running, record, _ in stretches:
        if max(begin, since) < min(end, until):
            yield max(begin, since), min(end, until), running, record


def _chain(reading: dict[str, Any]) -> str:
    """All that is said of what ran; under which revision is not."""
    running = [
        {name: value for name, value in one.items() if name != "revision"}
        for one in reading.get("running") or []
    ]
    return json.dumps([reading["program_tag"], running], sort_keys=True)


def _finished(row: Row, until: str) -> Row:
    programs = row["programs"]
    since, record = min(row["told"])
    last = max(row["ends"])
    return {
        "since": since,
        "until": last if last < until else "",
        "record": record,
        "nodes": len(row["times"]),
        "points": len(row["points"]),
        "node_seconds": sum(map(_together, row["times"].values())),
        "point_seconds": sum(map(_together, row["points"].values())),
        "archives": sorted(
            {(one["package"], one["version"], one["archive_sha256"]) for one in programs}
        ),
        "findings": sorted(
            {text for one in programs for text in one["licence"].get("findings", ())}
        ),
        "waivers": sorted({text for one in programs for text in one["licence"].get("waivers", ())}),
    }


def _together(stretches: list[tuple[str, str]]) -> float:
    """Seconds in which at least one of them lasted."""
    edges = sorted([(begin, 1) for begin, _ in stretches] + [(end, -1) for _, end in stretches])
    seconds, running = 0.0, 0
    for (moment, change), (following, _) in pairwise([*edges, edges[-1]]):
        running += change
        if running:
            seconds += (_read(following) - _read(moment)).total_seconds()
    return seconds


def _read(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def labels_then(records: Sequence[Record], moment: str) -> dict[str, dict[str, str]]:
    """What each node said of itself when it came, under what an operator set until a moment."""
    said: dict[str, dict[str, str]] = {}
    held: dict[str, dict[str, str]] = {}
    for one in sorted(records, key=lambda one: one["event"]["time"]):
        event = one["event"]
        body = event["data"]
        if event["time"] > moment:
            break
        if body["action"] == "node.register" and event["emitter"] == f"node/{body['node']}":
            said[body["node"]] = body["details"]["labels"]
        elif body["action"] == "node.label" and event["emitter"] == "scheduler":
            held[body["node"]] = body["details"]["labels"]
    return {node: {**labels, **held.get(node, {})} for node, labels in said.items()}
