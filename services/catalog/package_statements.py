# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what a manifest says of owners, licences of file groups and needs can be kept.

Pure.

Rules:
 * Owners and features are named once.
 * A group's licence is an SPDX expression of known identifiers; that of the group `kernel` offers
   what `licence` offers.
 * A glob names a file of the package, and a file belongs to one group.
 * A range of kernels has a kernel in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.contracts.package_manifest import PackageManifest
from shared.errors import Reason, RefusedError
from shared.file_groups import files_named, stated_groups
from shared.kernel_versions import parse_kernel_range
from shared.licensing.expressions import ExpressionError, is_known, parse_expression


def statement_reasons(manifest: PackageManifest) -> Iterator[Reason]:
    """Every such statement that cannot be kept, whatever the objects hold."""
    yield from _duplicates(manifest.owners, path="manifest.owners")
    yield from _licence_reasons(manifest)
    yield from _group_reasons(manifest)
    yield from _duplicates(manifest.needs.features, path="manifest.needs.features")
    if manifest.needs.kernel:
        try:
            parse_kernel_range(manifest.needs.kernel, path="manifest.needs.kernel")
        except RefusedError as error:
            yield from error.reasons


def _duplicates(names: Sequence[str], *, path: str) -> Iterator[Reason]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Reason(path=f"{path}[{index}]", rule="is named twice", got=name)


def _licence_reasons(manifest: PackageManifest) -> Iterator[Reason]:
    for group, expression in manifest.licences.items():
        path = f"manifest.licences.{group}"
        try:
            arms = parse_expression(expression, path=path)
        except ExpressionError as error:
            yield from error.reasons
            continue
        unknown = sorted({name for arm in arms for name in arm if not is_known(name)})
        if unknown:
            yield Reason(
                path=path,
                rule="names what is in no list of licences",
                got=unknown,
                allowed="SPDX identifiers, or LicenseRef- and a name",
            )
        elif group == "kernel" and expression != manifest.licence and arms != _own_arms(manifest):
            yield Reason(
                path=path,
                rule="is not what manifest.licence says of the kernel code",
                got=expression,
                allowed=manifest.licence,
            )


def _own_arms(manifest: PackageManifest) -> frozenset[frozenset[str]] | None:
    try:
        return parse_expression(manifest.licence, path="manifest.licence")
    except ExpressionError:
        return None


def _group_reasons(manifest: PackageManifest) -> Iterator[Reason]:
    paths = [file.path for file in manifest.files]
    for group, globs in manifest.file_groups.items():
        for index, glob in enumerate(globs):
            if not files_named(paths, (glob,)):
                yield Reason(
                    path=f"manifest.file_groups.{group}[{index}]",
                    rule="names no file of the package",
                    got=glob,
                )
    for path in paths:
        groups = stated_groups(path, manifest.file_groups)
        if len(groups) > 1:
            yield Reason(
                path="manifest.file_groups",
                rule=f"{path} is in {len(groups)} groups",
                got=list(groups),
                allowed="one group",
            )
