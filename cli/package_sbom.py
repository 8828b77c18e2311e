# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package sbom`: what a package is made of, as CycloneDX 1.6 or SPDX 2.3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from cli import console, session
from cli.console import CredentialsOption, JsonFlag
from cli.package_notice import hand_out
from cli.rollout import SpaceOption
from shared.contracts.sbom import GET_BILL, BillFormat, BillShown, GetBill, PackageBill
from shared.contracts.search import MAX_FOUND, SEARCH_PACKAGES, SearchPackages
from shared.errors import Reason, RefusedError
from shared.sbom.formats import DOCUMENTS

BILL_SECONDS: Final = 30.0


def sbom(
    name: str = "",
    version: str = "",
    *,
    channel: str = "",
    space: SpaceOption = "",
    format: BillFormat = "cyclonedx",  # noqa: A002 because it is the option's name
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Print a bill of materials, ready for tools that read one.

    The same versions always give the same bytes.

    Parameters
    ----------
    name
        Of a package; left out with --channel.
    version
        Left out: the newest release.
    channel
        Instead of a package: everything that the channel offers, of each package the version that
        stands for it there.
    format
        `cyclonedx` is CycloneDX 1.6, `spdx` is SPDX 2.3; both as JSON.
    out
        A file to write it to, instead of printing it.
    json
        Print the facts as the catalog has them, in neither format.
    """
    with console.refusing(json=json):
        if bool(name) == bool(channel):
            reason = Reason(path="name", rule="name a package, or --channel, and not both")
            raise RefusedError("what is the bill of?", [reason])
    if channel:
        bills = console.run(_of_channel(channel, space, credentials), json=json)
        facts = msgspec.json.encode(bills).decode() + "\n"
        text = facts if json else DOCUMENTS[format](bills, channel=channel)
    else:
        document = None if json else format
        wanted = GetBill(name=name, version=version, space=space, format=document)
        shown = console.run(_of_package(wanted, credentials), json=json)
        text = msgspec.json.encode(shown.bill).decode() + "\n" if json else shown.document
    hand_out(text, out, json=json)


async def _of_package(wanted: GetBill, credentials: Path | None) -> BillShown:
    async with session.connected(credentials) as bus:
        with console.progress(f"reading the archive of {wanted.name}"):
            return await bus.request(GET_BILL, wanted, timeout_seconds=BILL_SECONDS)


async def _of_channel(channel: str, space: str, credentials: Path | None) -> list[PackageBill]:
    """By name; of each package the version that stands for it in the channel."""
    bills: list[PackageBill] = []
    wanted = SearchPackages(
        channels=(channel,), space=space, sort="name", limit=MAX_FOUND, facets=False
    )
    async with session.connected(credentials) as bus:
        page = await bus.request(SEARCH_PACKAGES, wanted)
        with console.progress(f"reading archives of {channel}", total=page.total) as show_progress:
            while True:
                for one in page.packages:
                    asked = GetBill(name=one.name, version=one.version, space=one.space)
                    shown = await bus.request(GET_BILL, asked, timeout_seconds=BILL_SECONDS)
                    assert shown.bill is not None
                    bills.append(shown.bill)
                    show_progress(len(bills))
                if not page.next:
                    return bills
                wanted = msgspec.structs.replace(wanted, after=page.next)
                page = await bus.request(SEARCH_PACKAGES, wanted)
