# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a package was built: what the statement says, and which one counts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.catalog.trusting import check_publication, handed_out
from shared.contracts.catalog import PublishPackage, SignedPackage
from shared.contracts.package_manifest import BuildRecipe, PackageFile
from shared.contracts.trust import TrustDocument
from shared.dsse import SignatureError, sign_envelope
from shared.provenance.building import BUILD_TYPE, MAX_SOURCES, build_statement
from shared.provenance.checking import CheckedProvenance, check_provenance
from shared.provenance.statement import (
    MAX_STATEMENT_BYTES,
    PAYLOAD_TYPE,
    Statement,
    parse_statement,
    sign_statement,
    statement_bytes,
)
from shared.trust.keys import Evidence
from shared.trust.packages import Trust
from tests.package_builders import (
    NOW,
    PUBLISHER_SEED,
    STRANGER_SEED,
    TRUST_ROOT,
    a_manifest,
    a_version,
    sign,
)
from tests.support.trusting import BOB_SEED, CLOCK_SEED, a_key, a_trust, a_trust_document

RECIPE = BuildRecipe(
    compiler="Debian clang version 19.1.7 (3)",
    stripper="  LLVM version 19.1.7",
    arguments=("-O2", "-target", "bpf"),
    defines={"one.bpf.o": ("LANES=4",)},
    headers_sha256="ab" * 32,
)
MANIFEST = a_manifest(build=RECIPE)
PACKAGE = sign(MANIFEST)


def a_statement(**changes: Any) -> Statement:
    """Of the package."""
    fields = {
        "version": "1.2.3",
        "invocation": "run-1",
        "started_at": "2026-03-01T12:00:00Z",
        "finished_at": "2026-03-01T12:00:01Z",
    }
    return build_statement(
        changes.pop("manifest", MANIFEST),
        changes.pop("archive_sha256", PACKAGE.archive_sha256),
        **{**fields, **changes},
    )


def checked(
    envelope: Any, *documents: TrustDocument, signed: SignedPackage = PACKAGE
) -> CheckedProvenance:
    """As the catalog asks."""
    return check_provenance(
        envelope,
        signed,
        a_trust(*documents),
        audience="public",
        evidence=Evidence(NOW, is_proven=True),
        now=NOW,
    )


def test_the_statement_has_the_names_that_the_specifications_say() -> None:
    """In-toto's and SLSA's fields, as JSON: subject, builder, parameters and what went in."""
    document = msgspec.json.decode(statement_bytes(a_statement()))

    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert document["subject"] == [
        {"name": "one-1.0.0", "digest": {"sha256": PACKAGE.archive_sha256}}
    ]
    definition = document["predicate"]["buildDefinition"]
    assert definition["buildType"] == BUILD_TYPE
    assert definition["externalParameters"] == {"package": "one", "version": "1.0.0"}
    assert definition["internalParameters"] == {
        "arguments": ["-O2", "-target", "bpf"],
        "defines": {"one.bpf.o": ["LANES=4"]},
    }
    run = document["predicate"]["runDetails"]
    assert run["builder"]["version"] == {"l3af-bus": "1.2.3"}
    assert run["metadata"] == {
        "invocationId": "run-1",
        "startedOn": "2026-03-01T12:00:00Z",
        "finishedOn": "2026-03-01T12:00:01Z",
    }


def test_sources_and_compilers_are_what_it_was_made_from() -> None:
    """Every file but the objects by its digest; compilers by version; headers by theirs."""
    found = a_statement().predicate.buildDefinition.resolvedDependencies
    files = {file.path: file.sha256 for file in MANIFEST.files}

    assert {one.name: one.digest.get("sha256", one.uri) for one in found} == {
        "README.md": files["README.md"],
        "one.bpf.c": files["one.bpf.c"],
        "clang": "pkg:generic/clang@19.1.7",
        "llvm-strip": "pkg:generic/llvm-strip@19.1.7",
        "headers outside the package": "ab" * 32,
    }


def test_a_statement_about_many_files_stays_small() -> None:
    """More sources than are named one by one are named by one digest."""
    files = tuple(
        PackageFile(path=f"src/{'x' * 200}{number}.h", sha256="00" * 32, size_bytes=1)
        for number in range(MAX_SOURCES + 1)
    )
    statement = a_statement(manifest=a_manifest(build=RECIPE, summary="s"))
    large = a_statement(manifest=msgspec.structs.replace(MANIFEST, files=files))

    assert len(statement_bytes(large)) < len(statement_bytes(statement)) + 1000
    full = msgspec.structs.replace(MANIFEST, files=files[:-1])
    assert len(statement_bytes(a_statement(manifest=full))) > MAX_STATEMENT_BYTES / 2


def test_the_publishers_word_counts_without_a_document() -> None:
    """The key of the package's certificate may say how it was built, and nobody else."""
    found = checked(sign_statement(a_statement(), seed=PUBLISHER_SEED))

    assert (found.statement, found.signers) == (a_statement(), ("acme",))
    with pytest.raises(SignatureError, match="no signature is by a trusted key"):
        checked(sign_statement(a_statement(), seed=STRANGER_SEED))


def test_with_a_document_a_builder_of_its_own_may_say_so() -> None:
    """A key in the role `provenance` counts although it may sign no package, and only there."""
    builder = a_trust_document(
        a_key(roles=("package",)), a_key("builder", seed=BOB_SEED, roles=("provenance",))
    )

    assert checked(sign_statement(a_statement(), seed=BOB_SEED), builder).signers == ("builder",)
    with pytest.raises(SignatureError, match="acme's key may not sign a provenance"):
        checked(sign_statement(a_statement(), seed=PUBLISHER_SEED), builder)
    with pytest.raises(SignatureError, match="no signature is by a trusted key"):
        checked(sign_statement(a_statement(), seed=STRANGER_SEED), builder)


def test_a_revoked_builder_says_nothing() -> None:
    """The same rules as for packages hold, by name."""
    revoked = a_trust_document(a_key(revoked_at="2026-02-01T00:00:00Z"))

    with pytest.raises(SignatureError, match="acme's key was revoked at"):
        checked(sign_statement(a_statement(), seed=PUBLISHER_SEED), revoked)


def test_a_statement_about_another_archive_is_refused() -> None:
    """The subject's digest is the archive's, or it says nothing about this package."""
    other = sign_statement(a_statement(archive_sha256="cd" * 32), seed=PUBLISHER_SEED)

    with pytest.raises(SignatureError, match="is about another archive"):
        checked(other)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"[" * 100,
        b"{}",
        b" " * (MAX_STATEMENT_BYTES + 1),
        statement_bytes(msgspec.structs.replace(a_statement(), type="https://in-toto.io/x")),
        statement_bytes(msgspec.structs.replace(a_statement(), predicateType="text/plain")),
        statement_bytes(msgspec.structs.replace(a_statement(), subject=())),
        statement_bytes(a_statement()).replace(b'"digest":{', b'"digest":[{', 1),
    ],
)
def test_what_is_no_statement_is_refused_although_it_is_signed(payload: bytes) -> None:
    """Size, depth, types and fields are as they must be, or every problem is named."""
    with pytest.raises(SignatureError):
        checked(sign_envelope(PAYLOAD_TYPE, payload, seed=PUBLISHER_SEED))


def test_fields_of_later_versions_are_no_problem() -> None:
    """Consumers ignore what they do not know, as in-toto's parsing rules say."""
    document = msgspec.json.decode(statement_bytes(a_statement()))
    document["predicate"]["runDetails"]["byproducts"] = [{"name": "log"}]

    assert parse_statement(msgspec.json.encode(document), path="p") == a_statement()


def a_command(seed: bytes = PUBLISHER_SEED) -> PublishPackage:
    """A publication with provenance."""
    return PublishPackage(signed=PACKAGE, provenance=sign_statement(a_statement(), seed=seed))


def test_a_publication_with_wrong_provenance_is_refused() -> None:
    """Nothing is published beside a statement that nobody may make."""
    trust = Trust(root=TRUST_ROOT)

    assert check_publication(a_command(), trust, now=NOW).note.problems == ()
    with pytest.raises(SignatureError) as caught:
        check_publication(a_command(STRANGER_SEED), trust, now=NOW)
    assert [reason.path for reason in caught.value.reasons] == ["provenance.signatures"]


def test_mode_normal_takes_a_strangers_statement_and_says_so() -> None:
    """But not what is no statement at all."""
    trust = Trust(root=TRUST_ROOT, mode="normal")
    note = check_publication(a_command(STRANGER_SEED), trust, now=NOW).note

    assert [reason.path for reason in note.problems] == ["provenance.signatures"]
    nonsense = sign_envelope(PAYLOAD_TYPE, b"{}", seed=STRANGER_SEED)
    with pytest.raises(SignatureError):
        check_publication(msgspec.structs.replace(a_command(), provenance=nonsense), trust, now=NOW)


def test_nodes_are_not_given_the_provenance() -> None:
    """It stays with the version in the catalog."""
    envelope = sign_statement(a_statement(), seed=PUBLISHER_SEED)
    version = msgspec.structs.replace(a_version(), provenance=envelope)

    handed, _ = handed_out(version, a_trust(), clock=CLOCK_SEED, now=NOW)

    assert handed.provenance is None
