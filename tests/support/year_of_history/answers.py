# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a store answers about the year, in the words of the second reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from services.auditor.compliance.cases import Case
from services.auditor.compliance.facts import COMPLIANCE_ACTIONS, ComplianceFact, read_fact
from services.auditor.inventory import inventory_page, runs_page
from services.auditor.records import parse_time_us
from services.auditor.reporting.evidence_lists import STANDARDS, Item
from services.auditor.reporting.policy_replay import ACTIONS
from services.auditor.searching import Chunk, parse_search
from services.auditor.store import LogStore
from shared.contracts.audit import AuditRecord, StreamRecords
from shared.contracts.events import PUBLIC
from shared.contracts.inventory import FindRuns, HookPlace, HookRun, Run
from shared.contracts.licence_reports import LicenceUse
from shared.contracts.policy_replay import ReplayedEvent
from shared.validation import convert_document
from tests.support.year_of_history.recomputed_findings import History
from tests.support.year_of_history.recomputed_log import Place, chain_of


async def inventory(store: LogStore, moment: str, audiences: frozenset[str]) -> list[HookRun]:
    """As the log answers it, page by page."""
    found: list[HookRun] = []
    at_us = parse_time_us(moment)
    after: HookPlace | None = None
    while True:
        stored = await store.sightings(at_us, audiences=audiences, node="", after=after)
        page = inventory_page(stored, at_us=at_us)
        found += page.hook_points
        if page.next is None:
            return found
        after = page.next


async def runs(store: LogStore, digest: str) -> list[Run]:
    """As the log answers everybody, page by page."""
    found: list[Run] = []
    asked = FindRuns(digest=digest)
    while True:
        stored = await store.runs(digest, audiences=frozenset({PUBLIC}), after=asked.after)
        page = runs_page(asked, stored)
        found += page.runs
        if page.next is None:
            return found
        asked = msgspec.structs.replace(asked, after=page.next)


def runs_in_words(runs: Iterable[HookRun]) -> dict[Place, dict[str, Any]]:
    """The answer in the words of the second reading."""
    return {
        (run.place.node, run.place.netns, run.place.interface, run.place.hook): {
            "source": run.source,
            "since": run.since,
            "record": run.record,
            "confirmed": run.confirmed_record,
            "actor": run.actor_key,
            "ran": [f"{one.package}@{one.version}" for one in run.reading.running or ()],
            "tag": run.reading.program_tag,
        }
        for run in runs
    }


def places_in_words(ran: dict[Place, dict[str, Any]]) -> dict[Place, dict[str, Any]]:
    """The second reading, as comparable as the first."""
    return {
        place: {
            **{name: one[name] for name in ("source", "since", "record", "confirmed", "actor")},
            "ran": chain_of(one["reading"]),
            "tag": one["reading"]["program_tag"],
        }
        for place, one in ran.items()
    }


def asked_items() -> list[tuple[str, Item]]:
    """Every requirement that asks the log, with its list."""
    return [
        (name, item) for name, listed in STANDARDS.items() for item in listed.items if item.command
    ]


async def answer(
    store: LogStore, item: Item, audiences: frozenset[str], *, since: str, until: str
) -> list[int]:
    """Numbers of all records that the requirement's question finds, newest first."""
    fields = {"action": item.action, "outcome": item.outcome, "where": item.expression}
    asked = convert_document(
        {**fields, "since": since, "until": until, "limit": 500}, StreamRecords, what="question"
    )
    return [one.index for one in await all_records(store, asked, audiences)]


async def all_records(
    store: LogStore, asked: StreamRecords, audiences: frozenset[str]
) -> list[AuditRecord]:
    """Whatever matches, newest first, chunk by chunk."""
    found: list[AuditRecord] = []
    while True:
        chunk = Chunk(parse_search(asked, audiences=audiences))
        while (query := chunk.next_page()) is not None:
            page, tree_size, more = await store.page(query)
            chunk.take(page, tree_size, more=more)
        shown = chunk.render()
        found += shown.records
        if shown.position is None:
            return found
        asked = msgspec.structs.replace(asked, before_index=shown.position)


Part = tuple[str, str, str, str]


def cyclonedx_parts(document: dict[str, Any]) -> set[Part]:
    """Name, version, digest and declared licence of each package."""
    return {
        (one["name"], one["version"], one["hashes"][0]["content"], _said(one["licenses"]))
        for one in document["components"]
        if one["type"] == "application"
    }


def cyclonedx_places(document: dict[str, Any]) -> dict[str, list[str]]:
    """What ran on each hook point, first to run first."""
    return {
        one["bom-ref"]: [
            said["value"].removesuffix(" one")
            for said in one["properties"]
            if said["name"].startswith("l3af:order:")
        ]
        for one in document["components"]
        if one["type"] == "platform"
    }


def spdx_parts(document: dict[str, Any]) -> set[Part]:
    """The same of the other form."""
    return {
        (
            one["name"],
            one["versionInfo"],
            one["checksums"][0]["checksumValue"],
            one["licenseDeclared"],
        )
        for one in document["packages"]
    }


def _said(licences: list[dict[str, Any]]) -> str:
    (one,) = licences
    found: str = one["expression"] if "expression" in one else one["license"]["id"]
    return found


def use_in_words(row: LicenceUse) -> dict[str, Any]:
    """A row in the words of the second reading."""
    return {
        "since": row.since,
        "until": row.until,
        "record": row.record,
        "nodes": row.nodes,
        "points": row.hook_points,
        "node_seconds": pytest.approx(row.node_seconds, abs=1e-3),
        "point_seconds": pytest.approx(row.hook_point_seconds, abs=1e-3),
        "archives": [(one.package, one.version, one.archive_sha256) for one in row.archives],
        "findings": list(row.findings),
        "waivers": list(row.waivers),
    }


async def replayed_records(store: LogStore, audiences: frozenset[str]) -> list[AuditRecord]:
    """All that a replay of a policy goes by."""
    return [
        record
        for action in ACTIONS
        for record in await all_records(store, StreamRecords(action=action, limit=500), audiences)
    ]


def replay_in_words(one: ReplayedEvent) -> dict[str, Any]:
    """An event of a replay."""
    return {
        "at": one.at,
        "action": one.action,
        "version": (one.space, one.package, one.version),
        "was_refused": one.was_refused,
        "was": one.was,
        "would": one.would,
        "change": one.change,
        "rules": set(one.rules),
        "waivers": set(one.waivers),
    }


async def compliance_facts(store: LogStore) -> list[ComplianceFact]:
    """What the records of the store say of compliance."""
    actions = sorted({action for listed in COMPLIANCE_ACTIONS.values() for action in listed})
    found = map(read_fact, await store.of_actions(actions))
    return [
        fact
        for fact in found
        if fact is not None and fact.action in COMPLIANCE_ACTIONS.get(fact.emitter, ())
    ]


def key_of(case: Case) -> tuple[str, ...]:
    """The finding as the second reading names it."""
    about = case.about
    match about.kind:
        case "version-rule":
            return (about.kind, about.home, about.package, about.version, about.rule)
        case "deployment-rule":
            return (about.kind, about.deployment, about.rule)
        case _:
            return (about.kind, about.deployment, about.archive_sha256)


def life_of(case: Case) -> History:
    """Its states; without those that lasted no time, and those that followed themselves."""
    told: History = []
    for one in case.history:
        if told and told[-1][1] == one.at:
            told.pop()
        if not told or told[-1][0] != one.state:
            told.append((one.state, one.at))
    return told
