# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package licence`: what a policy says of a package, rule by rule."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_build import BuiltPackage
from cli.package_publish import load_built
from cli.package_source import ARCHIVE_SUFFIX
from shared.adapters.licence_policies import load_policy
from shared.contracts.base import Message
from shared.contracts.catalog import GET_PACKAGE, GetPackage, PackageVersion
from shared.contracts.licences import (
    LicenceFinding,
    LicenceOutcome,
    LicenceVerdict,
)
from shared.licensing.chains import ChainMember, chain_findings, segments_by_licence
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import DEFAULT_POLICY
from shared.licensing.source_tags import source_licences
from shared.licensing.verdict import check_licences, gravest
from shared.package_archive import read_archive
from shared.portability.companions import analyse_companions

_STYLES: Final[dict[LicenceOutcome, str]] = {
    "passed": "green",
    "noted": "cyan",
    "review": "yellow",
    "refused": "red",
}


class PackageLicences(Message, frozen=True, kw_only=True):
    """What was found out."""

    name: str
    version: str
    licence: str
    """The expression in the manifest."""
    verdict: LicenceVerdict
    is_recorded: bool = False
    """Whether it is the catalog's own, from when the version was published."""
    chain: tuple[LicenceFinding, ...] = ()
    """Of the chain with the packages that it was asked about, in this order."""

    @property
    def outcome(self) -> LicenceOutcome:
        """The gravest of all."""
        return gravest((*self.verdict.findings, *self.chain))


def licence(
    package: str,
    version: str = "",
    *,
    policy: str = "",
    beside: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Check what a package says of its licences, against the kernel's rules and a policy.

    Exit status 2: the policy, or the kernel, would refuse it.

    Parameters
    ----------
    package
        A folder, which is built first, an archive that `build` wrote, or a published name.
    version
        Of a published package; left out: the newest release.
    policy
        gpl-ok, lfn-l3af, cncf, permissive-only or FILE.toml.  Left out: of a published package the
        verdict that was recorded, of a folder gpl-ok.
    beside
        Published packages that would follow in one chain; what follows from being linked is said.
    """
    place = Path(package)
    is_here = place.is_dir() or package.endswith(ARCHIVE_SUFFIX)
    wanted = [*([] if is_here else [(package, version)]), *((name, "") for name in beside)]
    published = console.run(_fetch(wanted, credentials), json=json) if wanted else []
    with console.refusing(json=json), console.progress(f"reading {package}"):
        if is_here:
            subject = licensed_package(load_built(place), policy or DEFAULT_POLICY)
            found = _licences(subject, check_licences(subject))
        else:
            subject, found = _of_published(published.pop(0), policy)
        if published:
            others = [_of_published(one, policy)[0] for one in published]
            found = _with_chain(found, [subject, *others])
    console.emit(found, render, json=json)
    if found.outcome == "refused":
        sys.exit(console.REFUSED)


async def _fetch(wanted: list[tuple[str, str]], credentials: Path | None) -> list[PackageVersion]:
    async with session.connected(credentials) as bus:
        shown = [
            await bus.request(GET_PACKAGE, GetPackage(name=name, version=version))
            for name, version in wanted
        ]
    return [one.package for one in shown]


def licensed_package(built: BuiltPackage, policy: str) -> LicensedPackage:
    """What the rules are asked about, under the policy of that name."""
    files = read_archive(built.archive, built.manifest)
    return LicensedPackage(
        built.manifest,
        built.elf,
        load_policy(policy),
        source_licences(files),
        companions=analyse_companions(built.manifest, files).companions,
    )


def _of_published(shown: PackageVersion, policy: str) -> tuple[LicensedPackage, PackageLicences]:
    subject = LicensedPackage(
        shown.manifest,
        shown.elf,
        load_policy(policy or DEFAULT_POLICY),
        shown.source_licences,
        companions=shown.analysis.companions if shown.analysis else (),
    )
    if not policy and shown.licences is not None:
        return subject, _licences(subject, shown.licences, is_recorded=True)
    return subject, _licences(subject, check_licences(subject))


def _licences(
    subject: LicensedPackage, verdict: LicenceVerdict, *, is_recorded: bool = False
) -> PackageLicences:
    return PackageLicences(
        name=subject.manifest.name,
        version=subject.manifest.version,
        licence=subject.manifest.licence,
        verdict=verdict,
        is_recorded=is_recorded,
    )


def _with_chain(found: PackageLicences, packages: list[LicensedPackage]) -> PackageLicences:
    """With what follows from the packages being linked: one member for each of their objects."""
    members = [
        ChainMember(f"{one.manifest.name}:{facts.path}", facts.licence, one.arms)
        for one in packages
        for facts in one.elf
    ]
    chain = tuple(chain_findings(segments_by_licence(members)))
    return msgspec.structs.replace(found, chain=chain)


def render(found: PackageLicences) -> RenderableType:
    """The verdict for people: every rule, what broke it, and what would mend it."""
    verdict = found.verdict
    remark = ", as recorded when it was published" if found.is_recorded else ""
    head = Text.assemble(
        (f"{plain(found.name)} {plain(found.version)}", "bold"),
        f" ({plain(found.licence)}) under policy {plain(verdict.policy)} ",
        f"{plain(verdict.policy_version)}{remark}: ",
        (verdict.outcome, _STYLES[verdict.outcome]),
    )
    parts: list[RenderableType] = [head, finding_table(verdict.findings)]
    if verdict.elections:
        elections = Table("object", "is taken under", "because")
        for one in verdict.elections:
            elections.add_row(plain(one.file), plain(one.elected), plain(one.why))
        parts.append(elections)
    if found.chain:
        parts += [Text("in one chain:"), finding_table(found.chain)]
    return Group(*parts)


def finding_table(findings: tuple[LicenceFinding, ...]) -> Table:
    """Rules, the gravest words coloured."""
    table = Table("rule", "outcome", "where", "what", "fix")
    for row in _rows(findings):
        table.add_row(*row)
    return table


def _outcome(one: LicenceFinding) -> Text:
    if one.waiver:
        return Text(f"{one.outcome}, waived by {plain(one.waiver)}", style=_STYLES["noted"])
    return Text(one.outcome, style=_STYLES[one.outcome])


def _rows(findings: tuple[LicenceFinding, ...]) -> Iterator[tuple[str | Text, ...]]:
    for one in findings:
        yield (
            plain(one.rule),
            _outcome(one),
            plain(one.path),
            plain(one.text),
            plain(one.fix),
        )
