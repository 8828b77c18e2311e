# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit sbom`: what ran at a moment, as CycloneDX 1.6 or SPDX 2.3, from the log alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from cli.audit_inventory import NodeOption, TimeArgument, inventory_at, required_moment
from cli.console import CredentialsOption, JsonFlag, refusing, run, say
from cli.package_notice import hand_out
from cli.session import connected
from shared.contracts.inventory import InventoryShown
from shared.contracts.sbom import BillFormat
from shared.sbom.running import ran_then
from shared.sbom.running_documents import RUNNING_DOCUMENTS


def sbom(
    time: TimeArgument,
    /,
    *,
    node: NodeOption = "",
    format: BillFormat = "cyclonedx",  # noqa: A002 because it is the option's name
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Print a bill of materials of what ran then: packages, objects, licences, hook points.

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
        at = required_moment(time, path="TIME")

    async def asked() -> InventoryShown:
        async with connected(credentials) as bus:
            return await inventory_at(bus, at, node)

    shown = run(asked(), json=json)
    ran = ran_then(shown.hook_points, at=shown.at, tree_size=shown.tree_size, node=node)
    if json:
        hand_out(msgspec.json.encode(shown).decode() + "\n", out, json=json)
    else:
        hand_out(RUNNING_DOCUMENTS[format](ran), out, json=json)
    if not ran.is_complete:
        say("of some hook points the log does not say what ran there", json=json)
