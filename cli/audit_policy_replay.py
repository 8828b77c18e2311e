# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit report policy-replay`: the history, judged by another licence policy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_log import searching
from cli.audit_query import Answer
from cli.console import CredentialsOption, JsonFlag, plain, refusing, run
from cli.moments import shown_moment
from cli.report_options import (
    OutOption,
    ReportFormat,
    SinceOption,
    UntilOption,
    ZoneOption,
    check_out,
    give,
    parse_range,
)
from cli.session import connected
from services.auditor.reporting.policy_replay import (
    ACTIONS,
    History,
    KnownVersion,
    VersionKey,
    policy_replay,
    replay_csv,
    replay_html,
)
from shared.adapters.bus import Bus
from shared.adapters.licence_policies import load_policy
from shared.contracts.audit import AuditRecord, StreamRecords
from shared.contracts.catalog import GET_PACKAGE, GetPackage
from shared.contracts.policy_replay import REPLAY_CHANGES, PolicyReplay, ReplayChange
from shared.errors import RefusedError
from shared.licensing.replay import facts_of

CHANGED: tuple[ReplayChange, ...] = tuple(one for one in REPLAY_CHANGES if one != "same")


def policy_replay_(
    policy: str,
    /,
    *,
    since: SinceOption = "",
    until: UntilOption = "",
    zone: ZoneOption = "",
    same: Annotated[bool, Parameter(negative=(), help="Show what stays the same too.")] = False,
    format: ReportFormat = "table",  # noqa: A002 because it is the option's name
    out: OutOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What a licence policy would have refused, or had looked at, and was not; and the other way.

    Every publication, promotion and deployment of the range is judged from what was recorded.
    Of versions that an earlier release recorded too little of, the catalog is asked.

    Parameters
    ----------
    policy
        gpl-ok, lfn-l3af, cncf, permissive-only or FILE.toml.
    """
    with refusing(json=json):
        check_out(format, out, json=json)
        pack = load_policy(policy)
        begin, end = parse_range(since, until, zone=zone)

    async def asked() -> PolicyReplay:
        async with connected(credentials) as bus:
            history = await _history(bus)
            from_catalog = await _from_catalog(bus, history.unrecorded())
        return policy_replay(history, pack, since=begin, until=end, from_catalog=from_catalog)

    replay = run(asked(), json=json)
    shown = REPLAY_CHANGES if same else CHANGED
    give(
        replay,
        partial(_render, changes=shown),
        {"csv": replay_csv, "html": partial(replay_html, changes=shown)},
        form=format,
        out=out,
        json=json,
    )


async def _history(bus: Bus) -> History:
    """All that such events ever said: waivers and versions are older than the range."""
    records: list[AuditRecord] = []
    tree_size = 0
    for action in ACTIONS:
        with searching() as advance:
            question = StreamRecords(action=action, order="oldest")
            answer = Answer(bus, [question], advance=advance)
            records += [record async for record in answer.records()]
            tree_size = answer.tree_size
    return History.of(records, tree_size=tree_size)


async def _from_catalog(
    bus: Bus, wanted: Mapping[VersionKey, str]
) -> dict[VersionKey, KnownVersion]:
    """What the catalog knows of the licences of versions, if it still has the same archive."""
    found: dict[VersionKey, KnownVersion] = {}
    for key, archive in wanted.items():
        asked = GetPackage(name=key.package, version=key.version, space=key.space)
        try:
            version = (await bus.request(GET_PACKAGE, asked)).package
        except RefusedError:
            continue  # it is not there, or not seen: it is not judged
        if version.signed.archive_sha256 != archive or version.licences is None:
            continue
        facts = facts_of(version.manifest, version.source_licences)
        found[key] = KnownVersion(archive, version.licences, facts, version.channels)
    return found


_STYLES: Mapping[ReplayChange, str] = {
    "would-refuse": "bold red",
    "would-review": "yellow",
    "would-accept": "green",
    "would-pass": "green",
    "unjudged": "dim",
    "same": "dim",
}


def _render(replay: PolicyReplay, changes: tuple[ReplayChange, ...]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for name in ("record", "at", "what", "package", "was", "would", "", "rules"):
        table.add_column(name, header_style="bold", overflow="fold")
    shown = [one for one in replay.events if one.change in changes]
    for one in shown:
        where = one.deployment or one.channel
        table.add_row(
            str(one.record),
            shown_moment(one.at),
            plain(f"{one.action} {where}".strip()),
            plain(f"{one.package} {one.version}"),
            "refused" if one.was_refused else (one.was or "?"),
            one.would or "?",
            Text(one.change, style=_STYLES[one.change]),
            plain(" ".join(one.rules) or one.why),
        )
    counts = ", ".join(f"{count} {one}" for one, count in replay.counts.items())
    end = f"policy {replay.policy} {replay.policy_version}, until {replay.until}: {counts}"
    return Group(*([table] if shown else []), Text(plain(end), style="dim"))
