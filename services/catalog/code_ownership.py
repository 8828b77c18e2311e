# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who owns a package's files, and whose approvals of a version count.

Pure.

Rules:
 * An approval counts if it names the version's own manifest digest, if its key and its name are
   of nobody who published or submitted the version, and if the name owns a file of the package
   by the table as it is now.
 * One key and one name count once.
 * Rules of `public` are for all versions, those of another space for its own.
 * Where a rule is for some paths only, one of its owners has to be among the approvals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, TypeVar

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.catalog import PackageVersion, VersionState
from shared.contracts.events import EventBody
from shared.contracts.lifecycle import Approval, Lifecycle
from shared.contracts.reviews import MAX_OWNER_RULES, OwnerRule, OwnerTable, SetOwners
from shared.dsse import manifest_digest, publisher_name
from shared.errors import Reason, RefusedError

VersionT = TypeVar("VersionT", bound=VersionState)

EVERY_PATH: Final = "*"


def lifecycle_of(version: VersionState) -> Lifecycle:
    """What people decided about it; empty if nobody did."""
    return version.lifecycle or Lifecycle()


def changed_table(table: OwnerTable | None, request: SetOwners, *, command_id: str) -> OwnerTable:
    """The table with the rule.

    Raises:
        RefusedError: A rule that is not there cannot be removed, and there can be only so many.
    """
    rules = table.rules if table else ()
    place = (request.packages, request.paths)
    known = [(one.packages, one.paths) for one in rules]
    if not request.owners and place not in known:
        reason = Reason(path="packages", rule="there is no such rule", got=list(place))
        raise RefusedError("no rule has these globs", [reason], code="not_found")
    if request.owners and place not in known and len(rules) >= MAX_OWNER_RULES:
        rule = "the table is full"
        reason = Reason(path="packages", rule=rule, got=len(rules) + 1, allowed=MAX_OWNER_RULES)
        raise RefusedError(rule, [reason], code="too_large")
    owners = tuple(dict.fromkeys(request.owners))
    new = _rule(request, owners) if owners else None
    kept = [new if (one.packages, one.paths) == place else one for one in rules]
    if new is not None and place not in known:
        kept.append(new)
    return OwnerTable(rules=tuple(one for one in kept if one is not None), command_id=command_id)


def _rule(request: SetOwners, owners: tuple[str, ...]) -> OwnerRule:
    return OwnerRule(
        packages=request.packages, paths=request.paths, owners=owners, space=request.space
    )


def owners_event(request: SetOwners, before: OwnerTable | None, after: OwnerTable) -> EventBody:
    """Who owns what was changed; `details`: packages, paths, owners, those before, and space."""
    place = (request.packages, request.paths)
    rules = before.rules if before else ()
    was = next((one.owners for one in rules if (one.packages, one.paths) == place), ())
    return EventBody(
        action="owners.set",
        outcome="accepted",
        before=canonical_digest(rules) if rules else "",
        after=canonical_digest(after.rules),
        details={
            "packages": request.packages,
            "paths": request.paths,
            "owners": list(request.owners),
            "before": list(was),
            "space": request.space,
        },
    )


def rules_for(package: str, rules: Iterable[OwnerRule]) -> tuple[OwnerRule, ...]:
    """Those for packages of this name."""
    return tuple(one for one in rules if fnmatchcase(package, one.packages))


def owners_of(version: PackageVersion, rules: Iterable[OwnerRule]) -> tuple[str, ...]:
    """Who owns any of its files, by name."""
    found = {
        name
        for rule in rules_for(version.manifest.name, rules)
        if _touches(rule, version)
        for name in rule.owners
    }
    return tuple(sorted(found))


def is_submitter(version: PackageVersion, *, key: str, name: str) -> bool:
    """Whether somebody of this key or of this name published or submitted the version."""
    submitted = lifecycle_of(version).submitted
    keys = {version.published_by, *(one.by for one in submitted)}
    return key in keys or name in submitter_names(version)


def submitter_names(version: PackageVersion) -> set[str]:
    """Who published or submitted the version."""
    return {publisher_name(version.signed), *(one.name for one in lifecycle_of(version).submitted)}


def counted(version: PackageVersion, rules: Sequence[OwnerRule]) -> tuple[Approval, ...]:
    """The approvals that count, oldest first."""
    digest, owners = manifest_digest(version.signed), owners_of(version, rules)
    found: list[Approval] = []
    for one in lifecycle_of(version).approvals:
        is_new = all(one.by != other.by and one.name != other.name for other in found)
        if (
            is_new
            and one.manifest_sha256 == digest
            and one.name in owners
            and not is_submitter(version, key=one.by, name=one.name)
        ):
            found.append(one)
    return tuple(found)


def approval_reasons(
    version: PackageVersion, rules: Sequence[OwnerRule], *, demanded: int
) -> list[Reason]:
    """Everything that is missing for as many approvals; nothing if none is demanded."""
    if not demanded:
        return []
    names = [one.name for one in counted(version, rules)]
    able = set(owners_of(version, rules)) - submitter_names(version) - set(names)
    reasons = []
    if len(names) < demanded:
        others = "different code owners have approved it"
        advice = "" if able else "; nobody else can: l3af package owners set"
        reasons.append(
            Reason(
                path="approvals",
                rule=f"{len(names)} of {demanded} {others}{advice}",
                got=names,
                allowed=sorted(able),
            )
        )
    return [*reasons, *_path_reasons(version, rules, names)]


def _path_reasons(
    version: PackageVersion, rules: Sequence[OwnerRule], names: Sequence[str]
) -> Iterator[Reason]:
    for rule in rules_for(version.manifest.name, rules):
        is_narrow = rule.paths != EVERY_PATH
        if is_narrow and _touches(rule, version) and not set(names) & set(rule.owners):
            yield Reason(
                path=f"approvals[{rule.paths}]",
                rule="none of the owners of these paths has approved it",
                got=list(names),
                allowed=sorted(set(rule.owners) - submitter_names(version)),
            )


def _touches(rule: OwnerRule, version: PackageVersion) -> bool:
    if rule.paths == EVERY_PATH:
        return True
    return any(fnmatchcase(one.path, rule.paths) for one in version.manifest.files)


def with_lifecycle(version: VersionT, lifecycle: Lifecycle) -> VersionT:
    """The version with this decided about it."""
    return msgspec.structs.replace(version, lifecycle=lifecycle)
