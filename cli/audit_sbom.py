# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit sbom`: what ran, as CycloneDX 1.6 or SPDX 2.3, from the log alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from cli.audit_inventory import NodeOption, TimeArgument, inventory_at, required_moment
from cli.console import CredentialsOption, JsonFlag, refusing, run, say
from cli.log_pages import every_page
from cli.package_notice import hand_out
from cli.report_options import parse_range
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.inventory import GET_RANGE, GetRange, InventoryShown, RangeShown
from shared.contracts.sbom import BillFormat
from shared.errors import Reason, RefusedError
from shared.sbom.running import RanThen, ran_between, ran_then
from shared.sbom.running_documents import RUNNING_DOCUMENTS
from shared.validation import convert_document


def sbom(
    time: TimeArgument = "",
    /,
    *,
    since: Annotated[str, Parameter(help="What ran at any moment from then on.")] = "",
    until: Annotated[str, Parameter(help="With --since: before then; else up to now.")] = "",
    node: NodeOption = "",
    format: BillFormat = "cyclonedx",  # noqa: A002 because it is the option's name
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Print a bill of materials of what ran then, or within a range of time.

    It has packages, objects, licences, and hook points; of a range the chains that ran in it.

    It is rebuilt from the audit log alone, and says how large that was.  Asking is recorded too.

    Parameters
    ----------
    format
        `cyclonedx` is CycloneDX 1.6, `spdx` is SPDX 2.3; both as JSON.
    out
        A file to write it to, instead of printing it.
    json
        Print the facts as the log has them, in neither format.
    """
    with refusing(json=json):
        if bool(time) == bool(since or until):
            rule = "say one moment, or a range of time (--since, --until)"
            raise RefusedError(rule, [Reason(path="TIME", rule=rule)])
        at = required_moment(time, path="TIME") if time else ""
        begin, end = parse_range(since, until)
        fields = {"since": begin, "until": end, "node": node}
        wanted = convert_document(fields, GetRange, what="audit sbom")

    async def asked() -> tuple[InventoryShown | RangeShown, RanThen]:
        async with connected(credentials) as bus:
            if not at:
                return await _between(bus, wanted)
            shown = await inventory_at(bus, at, node)
            return shown, ran_then(
                shown.hook_points, at=shown.at, tree_size=shown.tree_size, node=node
            )

    shown, ran = run(asked(), json=json)
    if json:
        hand_out(msgspec.json.encode(shown).decode() + "\n", out, json=json)
    else:
        hand_out(RUNNING_DOCUMENTS[format](ran), out, json=json)
    if not ran.is_complete:
        say("of some hook points the log does not say what ran there", json=json)


async def _between(bus: Bus, wanted: GetRange) -> tuple[RangeShown, RanThen]:
    """All pages together; they are of the log as it was at the first."""
    pages = await every_page(bus, GET_RANGE, wanted, lambda page: len(page.chains))
    first, chains = pages[0], tuple(one for page in pages for one in page.chains)
    shown = msgspec.structs.replace(first, chains=chains, next="")
    ran = ran_between(
        chains,
        since=first.since,
        until=first.until,
        tree_size=first.tree_size,
        node=wanted.node,
    )
    return shown, ran
