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
from shared.contracts.sbom import GET_BILL, BillFormat, BillShown, GetBill

BILL_SECONDS: Final = 30.0


def sbom(
    name: str,
    version: str = "",
    *,
    format: BillFormat = "cyclonedx",  # noqa: A002 because it is the option's name
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Print a package's bill of materials, ready for tools that read one.

    The same version always gives the same bytes.

    Parameters
    ----------
    version
        Left out: the newest release.
    format
        `cyclonedx` is CycloneDX 1.6, `spdx` is SPDX 2.3; both as JSON.
    out
        A file to write it to, instead of printing it.
    json
        Print the facts as the catalog has them, in neither format.
    """
    wanted = GetBill(name=name, version=version, format=None if json else format)

    async def ask() -> BillShown:
        async with session.connected(credentials) as bus:
            with console.progress(f"reading the archive of {name}"):
                return await bus.request(GET_BILL, wanted, timeout_seconds=BILL_SECONDS)

    found = console.run(ask(), json=json)
    text = msgspec.json.encode(found.bill).decode() + "\n" if json else found.document
    hand_out(text, out, json=json)
