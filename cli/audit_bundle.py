# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit bundle`: what licences ask to be handed on with everything that was handed out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_distribution import distributed, range_question
from cli.bundle_files import check_new, read_bundle, write_bundle
from cli.console import CredentialsOption, JsonFlag, emit, plain, progress, refusing, run
from cli.package_transfer import carry_out, find_version
from cli.report_options import SinceOption, UntilOption, ZoneOption
from cli.session import connected
from shared.adapters.bus import Bus
from shared.canonical import sha256_hex
from shared.contracts.distribution import DistributedVersion
from shared.contracts.events import PUBLIC
from shared.contracts.notices import GET_NOTICE, GetNotice
from shared.dsse import manifest_digest
from shared.errors import Reason, RefusedError, VerificationError
from shared.licensing.bundle_checks import checked_bundle
from shared.licensing.notice_bundle import (
    MANIFEST,
    HandedOn,
    LackingPackage,
    NoticeBundle,
    notice_bundle,
)
from shared.package_archive import read_archive

LOOK: Final = 1
"""Exit status if something that has to be handed on is not there."""
MAX_CONTACT: Final = 300
DESTINATION: Final = "a bundle of notices"
PATIENCE_SECONDS: Final = 30.0

app = cyclopts.App(name="bundle", help="What is handed on with what was handed out.")


class BundleMade(msgspec.Struct, frozen=True, kw_only=True):
    """What `bundle notices --json` and `bundle verify --json` print."""

    place: str
    manifest_sha256: str
    """Of MANIFEST.json, which has the digests of all other files."""
    bundle: NoticeBundle


@app.command
def notices(
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    *,
    since: SinceOption = "",
    until: UntilOption = "",
    zone: ZoneOption = "",
    package: Annotated[str, Parameter(help="Only this package.")] = "",
    contact: Annotated[
        str,
        Parameter(help="Who is to be asked for sources.", env_var="L3AF_SOURCE_CONTACT"),
    ] = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Notices, licence texts, sources and a written offer for what was handed out in a time.

    What that was, the audit log says; the rest is from the archives, each text once.  Nothing in it
    says to whom anything went.  The same packages and times make the same bytes.  Exit status 1:
    something is lacking, and the bundle says what.

    Parameters
    ----------
    out
        A folder, or a file whose name ends in .tar.gz; it must not be there yet.
    contact
        In the offer: a postal or an e-mail address.
    """
    with refusing(json=json):
        check_new(out)
        _check_contact(contact)
        question = range_question(since, until, zone=zone, package=package)

    async def collected() -> dict[str, bytes]:
        async with connected(credentials) as bus:
            report = await distributed(bus, question)
            archives = {
                (one.package, one.version, one.archive_sha256): one for one in report.versions
            }
            handed, lacking = list[HandedOn](), list[LackingPackage]()
            with progress("collecting", total=len(archives)) as advance:
                for count, one in enumerate(archives.values(), start=1):
                    try:
                        handed.append(await _handed_on(bus, one))
                    except (RefusedError, VerificationError) as error:
                        lacking.append(_lacking(one, error.message))
                    advance(count)
        return notice_bundle(
            handed,
            lacking=lacking,
            since=question.since,
            until=question.until,
            contact=contact,
        )

    files = run(collected(), json=json)
    with refusing(json=json):
        bundle = checked_bundle(files)
        write_bundle(out, files)
    _say(out, files, bundle, json=json)


@app.command
def verify(place: Path, *, json: JsonFlag = False) -> None:
    """Check a bundle against its manifest; needs no server and no credentials.

    Every file has its digest, no other is there, every text and source that a package needs is,
    and the notices and the offer say what follows from the manifest.

    Parameters
    ----------
    place
        The folder or the .tar.gz file.
    """
    with refusing(json=json):
        files = read_bundle(place)
        bundle = checked_bundle(files)
    _say(place, files, bundle, json=json)


async def _handed_on(bus: Bus, one: DistributedVersion) -> HandedOn:
    """One archive, from the catalog.

    Raises:
        RefusedError: It is not there any more, or is another one.
        FaultError: The catalog does not answer.
    """
    space = one.space or PUBLIC
    found = await find_version(bus, one.package, one.version, space=space)
    if found is None:
        raise RefusedError("the catalog does not show it")
    if found.signed.archive_sha256 != one.archive_sha256:
        raise RefusedError("the catalog has another archive under its name and version")
    wanted = GetNotice(name=one.package, version=one.version, space=space)
    notice = await bus.request(GET_NOTICE, wanted, timeout_seconds=PATIENCE_SECONDS)
    archive: dict[str, bytes] = {}
    if notice.objects:
        carried = await carry_out(
            bus, found, trust_root=bus.facts.trust_root, destination=DESTINATION
        )
        archive = dict(read_archive(carried.archive, carried.manifest))
    return HandedOn(
        archive_sha256=one.archive_sha256,
        manifest_sha256=manifest_digest(found.signed),
        manifest=found.manifest,
        notice=notice,
        files=archive,
    )


def _lacking(one: DistributedVersion, why: str) -> LackingPackage:
    return LackingPackage(
        name=one.package, version=one.version, archive_sha256=one.archive_sha256, why=why
    )


def _check_contact(contact: str) -> None:
    if len(contact) > MAX_CONTACT or not contact.isprintable():
        rule = f"is one line of at most {MAX_CONTACT} characters"
        raise RefusedError(f"--contact {rule}", [Reason(path="--contact", rule=rule)])


def _say(place: Path, files: dict[str, bytes], bundle: NoticeBundle, *, json: bool) -> None:
    made = BundleMade(place=str(place), manifest_sha256=sha256_hex(files[MANIFEST]), bundle=bundle)
    emit(made, _render, json=json)
    if bundle.needs_attention:
        sys.exit(LOOK)


def _render(made: BundleMade) -> RenderableType:
    bundle = made.bundle
    table = Table("package", "licences", "texts", "sources", "lacking", box=None, pad_edge=False)
    for one in bundle.packages:
        notice = one.notice
        lacking = [f"text of {licence}" for licence in notice.missing]
        lacking += [f"source of {path}" for path in one.nowhere]
        sources = f"{len(one.sources)} files" if one.sources else ""
        offered = f"{len(one.offered)} offered" if one.offered else ""
        row = (
            f"{notice.name} {notice.version}",
            "; ".join(notice.expressions.values()),
            str(len(one.texts)),
            ", ".join(filter(None, (sources, offered))),
            ", ".join(lacking),
        )
        table.add_row(*map(plain, row))
    lines = [
        Text(plain(f"{one.name} {one.version} is not in it: {one.why}"), style="yellow")
        for one in bundle.lacking
    ]
    end = Text(
        f"{len(bundle.files)} files for {len(bundle.packages)} packages in {plain(made.place)}; "
        f"{MANIFEST} has SHA-256 {made.manifest_sha256}"
    )
    return Group(table, *lines, end)
