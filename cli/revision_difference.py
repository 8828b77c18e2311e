# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What differs between two revisions of a deployment, field by field.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from shared.contracts.deployments import DeploymentRevision
from shared.contracts.scheduler import DeploymentStatus
from shared.errors import Reason, RefusedError


class FieldChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field of the specification, or what it led to."""

    path: str
    before: Any = None
    """Null: it was left out."""
    after: Any = None


class RevisionDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Two revisions of one deployment."""

    deployment: str
    before: int
    after: int
    changes: tuple[FieldChange, ...]


def kept_revision(status: DeploymentStatus, number: int, *, path: str) -> DeploymentRevision:
    """The revision of that number.

    Raises:
        RefusedError: It is not kept any more, or never was.
    """
    for revision in status.revisions:
        if revision.revision == number:
            return revision
    rule = "is not a kept revision"
    kept = [one.revision for one in status.revisions]
    reason = Reason(path=path, rule=rule, got=number, allowed=kept)
    raise RefusedError(f"{status.key}: {number} {rule}", [reason], code="not_found")


def revision_difference(
    key: str, before: DeploymentRevision, after: DeploymentRevision
) -> RevisionDifference:
    """Every field that is not the same, by its path."""
    old, new = dict(_fields(before)), dict(_fields(after))
    return RevisionDifference(
        deployment=key,
        before=before.revision,
        after=after.revision,
        changes=tuple(
            FieldChange(path=path, before=old.get(path), after=new.get(path))
            for path in dict.fromkeys((*old, *new))
            if old.get(path) != new.get(path)
        ),
    )


def _fields(revision: DeploymentRevision) -> Iterator[tuple[str, Any]]:
    yield "resolved version", revision.version
    yield "archive", revision.archive_sha256
    yield from _flat("", msgspec.to_builtins(revision.spec))


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Tables field by field; lists as they are, since their order means something."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), part)
    else:
        yield path, value
