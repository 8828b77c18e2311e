# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The statement of one run of `l3af package build`.

Pure: moments and the name of the run are arguments.  Sources are the files of the archive that were
not compiled; of compilers and of headers outside the package it says what the manifest says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from shared.canonical import canonical_digest
from shared.contracts.package_manifest import BuildRecipe, PackageManifest
from shared.provenance.statement import (
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    BuildDefinition,
    Builder,
    BuildMetadata,
    ResourceDescriptor,
    RunDetails,
    SlsaProvenance,
    Statement,
)

BUILD_TYPE: Final = "urn:l3af-bus:build-type:package:v1"
BUILDER_ID: Final = "urn:l3af-bus:builder:package-build"
MAX_SOURCES: Final = 200
"""More are named by one digest over all, so that the statement stays small."""


def build_statement(
    manifest: PackageManifest,
    archive_sha256: str,
    *,
    version: str,
    invocation: str,
    started_at: str,
    finished_at: str,
) -> Statement:
    """What was built, from what and with what.

    Args:
        manifest: Of the package, with its recipe if anything was compiled.
        archive_sha256: Of the archive.
        version: Of the builder, this product.
        invocation: Names the run.
        started_at: RFC 3339, UTC.
        finished_at: RFC 3339, UTC.
    """
    recipe = manifest.build
    external: dict[str, Any] = {"package": manifest.name, "version": manifest.version}
    if manifest.source is not None:
        external["source"] = manifest.source.repository
    internal: dict[str, Any] = {}
    if recipe is not None:
        internal = {"arguments": list(recipe.arguments)}
        if recipe.defines:
            internal["defines"] = {path: list(names) for path, names in recipe.defines.items()}
    subject = ResourceDescriptor(
        name=f"{manifest.name}-{manifest.version}", digest={"sha256": archive_sha256}
    )
    return Statement(
        type=STATEMENT_TYPE,
        subject=(subject,),
        predicateType=PREDICATE_TYPE,
        predicate=SlsaProvenance(
            buildDefinition=BuildDefinition(
                buildType=BUILD_TYPE,
                externalParameters=external,
                internalParameters=internal,
                resolvedDependencies=(*_sources(manifest), *(_tools(recipe) if recipe else ())),
            ),
            runDetails=RunDetails(
                builder=Builder(id=BUILDER_ID, version={"l3af-bus": version}),
                metadata=BuildMetadata(
                    invocationId=invocation, startedOn=started_at, finishedOn=finished_at
                ),
            ),
        ),
    )


def _sources(manifest: PackageManifest) -> Iterator[ResourceDescriptor]:
    compiled = {
        path
        for program in manifest.programs
        if not program.compiler
        for path in program.all_objects
    }
    found = {file.path: file.sha256 for file in manifest.files if file.path not in compiled}
    if len(found) > MAX_SOURCES:
        digest = canonical_digest(found)
        yield ResourceDescriptor(
            name=f"{len(found)} source files",
            digest={"sha256": digest},
            annotations={"over": "JSON object of path to SHA-256, keys sorted"},
        )
        return
    for path, sha256 in found.items():
        yield ResourceDescriptor(name=path, digest={"sha256": sha256})


def _tools(recipe: BuildRecipe) -> Iterator[ResourceDescriptor]:
    for name, line in (("clang", recipe.compiler), ("llvm-strip", recipe.stripper)):
        number = re.search(r"[0-9]+(\.[0-9]+)+", line)
        version = f"@{number[0]}" if number else ""
        yield ResourceDescriptor(
            name=name, uri=f"pkg:generic/{name}{version}", annotations={"version": line}
        )
    if recipe.headers_sha256:
        yield ResourceDescriptor(
            name="headers outside the package",
            digest={"sha256": recipe.headers_sha256},
            annotations={"over": "JSON object of path to SHA-256, keys sorted"},
        )
