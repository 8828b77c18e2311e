# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog as a process on a real bus: publication, reading, refusals, kills."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.package_build import BuiltPackage
from shared.canonical import sha256_hex
from shared.contracts.catalog import (
    CHUNK_BYTES,
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    READ_ARTIFACT,
    WRITE_ARTIFACT,
    GetPackage,
    ListPackages,
    PublisherCertificate,
    PublishPackage,
    ReadArtifact,
    SignedPackage,
    WriteArtifact,
)
from shared.contracts.desired import DESIRED, Cause, DesiredChain, DesiredNode, DesiredProgram
from shared.dsse import MANIFEST_TYPE, key_id, public_key_of, sign_envelope
from shared.errors import RefusedError
from shared.package_archive import unpack_archive, write_archive
from tests.integration.conftest import Buses
from tests.package_builders import PUBLISHER_SEED, STRANGER_SEED, a_certificate, sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import BUILT, Stage, a_stage


@pytest.fixture
async def stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """A catalog that answers, and an ear on its events."""
    async with a_stage(buses, tmp_path / "state") as stage:
        yield stage


async def test_what_is_published_is_found_and_can_be_read(stage: Stage) -> None:
    """From an upload in several chunks to a node that holds the same bytes."""
    built = a_built_package(padding_bytes=2 * CHUNK_BYTES)

    published = await stage.publish(built)
    resolved = await stage.resolve("^1.0")
    node = await stage.buses.open("node", "n1")
    read = await stage.read(node, published.archive_sha256, ticket=resolved.ticket)

    assert read == built.archive
    assert resolved.package.manifest == built.manifest
    assert resolved.package.elf == built.elf
    listed = await stage.publisher.request(LIST_PACKAGES, ListPackages())
    assert [(line.name, line.versions) for line in listed.packages] == [("rate-limit", ("1.0.0",))]
    shown = await stage.publisher.request(GET_PACKAGE, GetPackage(name="rate-limit"))
    assert shown.package.published_by == stage.publisher.key


async def test_a_publication_is_one_event_that_names_signer_and_licences(stage: Stage) -> None:
    """The audit log learns who published what, on whose signature, under which licence."""
    published = await stage.publish(command_id="publish-it-once")
    await stage.until(lambda: len(stage.events) == 1)

    (event,) = stage.events
    assert (event.data.action, event.data.outcome) == ("package.publish", "accepted")
    assert (event.data.package, event.data.version) == ("rate-limit", "1.0.0")
    assert (event.data.correlation, event.data.reason) == ("publish-it-once", "a test")
    assert event.data.actor is not None
    assert (event.data.actor.key, event.data.actor.role) == (stage.publisher.key, "publisher")
    assert event.data.actor.attested
    assert event.data.details == {
        "archive_sha256": published.archive_sha256,
        "manifest_sha256": published.manifest_sha256,
        "signer": [key_id(public_key_of(PUBLISHER_SEED))],
        "licence": "GPL-2.0-only OR BSD-2-Clause",
        "elf_licence": {"rate_limit.bpf.o": "Dual BSD/GPL"},
        "channels": ["stable"],
        "licences": {
            "policy": "gpl-ok",
            "policy_version": "1.0.0",
            "outcome": "passed",
            "passed": 15,
            "findings": [],
            "elections": [
                {
                    "file": "rate_limit.bpf.o",
                    "elected": "GPL-2.0-only",
                    "declared": "GPL-2.0-only OR BSD-2-Clause",
                    "why": "policy gpl-ok prefers it",
                }
            ],
        },
        "licence_facts": {
            "licence": "GPL-2.0-only OR BSD-2-Clause",
            "platforms": ["linux"],
            "tags": [{"group": "docs", "path": "README.md", "tag": "GPL-2.0-only OR BSD-2-Clause"}],
        },
    }


async def test_a_tampered_archive_is_refused_by_name(stage: Stage) -> None:
    """One file changed after signing: the refusal names it, and the log has the refusal."""
    files = unpack_archive(BUILT.archive)
    files["rate_limit.bpf.o"] = files["rate_limit.bpf.o"][:-1] + b"\x01"
    tampered = BuiltPackage(manifest=BUILT.manifest, archive=write_archive(files), elf=())

    error = await stage.refused(built=tampered)
    await stage.until(lambda: len(stage.events) == 1)

    assert error.refusal_code == "verification_failed"
    assert [reason.path for reason in error.reasons] == ["archive[rate_limit.bpf.o].sha256"]
    (event,) = stage.events
    assert (event.data.outcome, event.data.package) == ("refused", "")
    assert event.data.reasons == error.reasons
    assert event.data.details["code"] == "verification_failed"


def _by_a_stranger() -> SignedPackage:
    return sign(BUILT.manifest, archive=BUILT.archive, seed=STRANGER_SEED)


def _by_an_unknown_publisher() -> SignedPackage:
    certificate = a_certificate(STRANGER_SEED)
    return _signed(seed=STRANGER_SEED, certificate=certificate, trust_seed=STRANGER_SEED)


def _for_another_name() -> SignedPackage:
    return _signed(certificate=a_certificate(packages=("edge-*",)))


def _with_an_unknown_field() -> SignedPackage:
    payload = msgspec.json.encode(
        {**msgspec.to_builtins(BUILT.manifest), "surprise": 1}, order="sorted"
    )
    envelope = sign_envelope(MANIFEST_TYPE, payload, seed=PUBLISHER_SEED)
    return msgspec.structs.replace(_signed(), manifest=envelope)


def _signed(
    *,
    seed: bytes = PUBLISHER_SEED,
    certificate: PublisherCertificate | None = None,
    **more: Any,
) -> SignedPackage:
    return sign(BUILT.manifest, archive=BUILT.archive, seed=seed, certificate=certificate, **more)


@pytest.mark.parametrize(
    ("signed", "path"),
    [
        (_by_a_stranger(), "signed.manifest.signatures"),
        (_by_an_unknown_publisher(), "signed.certificate.signatures"),
        (_for_another_name(), "signed.manifest.payload.name"),
        (_with_an_unknown_field(), "signed.manifest.payload.surprise"),
    ],
    ids=["wrong signature", "unknown publisher", "name outside the certificate", "unknown field"],
)
async def test_a_package_without_a_good_word_for_it_is_refused(
    stage: Stage, signed: SignedPackage, path: str
) -> None:
    """Only the chain trust root, certificate, manifest counts."""
    error = await stage.refused(signed=signed)

    assert error.refusal_code == "verification_failed"
    assert [reason.path for reason in error.reasons] == [path]


async def test_nobody_publishes_what_another_publisher_signed(stage: Stage) -> None:
    """A good signature and certificate are not enough: the name in it is that of who asks."""
    certificate = a_certificate(STRANGER_SEED, publisher="paula")

    error = await stage.refused(signed=_signed(seed=STRANGER_SEED, certificate=certificate))
    await stage.until(lambda: len(stage.events) == 1)

    assert error.refusal_code == "not_permitted"
    (reason,) = error.reasons
    assert (reason.got, reason.allowed) == ("paula", "acme")
    assert stage.events[0].data.outcome == "refused"
    assert stage.events[0].data.details["code"] == "not_permitted"


async def test_statements_that_the_object_does_not_keep_are_refused(stage: Stage) -> None:
    """A false licence and an unknown map are refused together, after all signatures held."""
    manifest = msgspec.structs.replace(
        BUILT.manifest, licence="Apache-2.0", maps={"no_such_map": BUILT.manifest.maps["rl_limits"]}
    )
    untested = msgspec.structs.replace(manifest, tests=None)
    error = await stage.refused(signed=sign(untested, archive=BUILT.archive))

    assert error.refusal_code == "invalid_request"
    assert {reason.path for reason in error.reasons} == {
        "manifest.maps.no_such_map",
        "archive[rate_limit.bpf.o].license",
    }


async def test_a_version_is_published_once(stage: Stage) -> None:
    """Another command for the same content, or for other content, is a conflict that says which."""
    await stage.publish()

    same = await stage.refused()
    other = await stage.refused(built=a_built_package(padding_bytes=10))

    assert (same.refusal_code, other.refusal_code) == ("conflict", "conflict")
    assert "already published with the same content" in same.message
    assert "what is published never changes" in other.message


async def test_the_same_command_again_has_no_second_effect(stage: Stage) -> None:
    """A repeat gets the same answer; the id cannot be used for something else."""
    first = await stage.publish(command_id="the-same-command")
    again = await stage.publish(command_id="the-same-command")
    other = await stage.refused(
        built=a_built_package(version="1.1.0"), command_id="the-same-command"
    )
    await stage.publish(a_built_package(version="1.2.0"))
    await stage.until(lambda: any(event.data.version == "1.2.0" for event in stage.events))

    assert again == first
    assert other.refusal_code == "conflict"
    assert [(event.data.version, event.data.outcome) for event in stage.events] == [
        ("1.0.0", "accepted"),
        ("", "refused"),
        ("1.2.0", "accepted"),
    ]


async def test_an_archive_comes_before_its_publication(stage: Stage) -> None:
    """A publication of what nobody uploaded is refused."""
    command = PublishPackage(signed=sign(BUILT.manifest, archive=b"never uploaded"))

    with pytest.raises(RefusedError) as caught:
        await stage.publisher.request(PUBLISH_PACKAGE, command)

    assert caught.value.refusal_code == "not_found"


async def test_a_wrong_chunk_never_completes_an_archive(stage: Stage) -> None:
    """The whole is refused by its digest and forgotten; the right chunks then make it complete."""
    data = b"a" * CHUNK_BYTES + b"tail"
    digest = sha256_hex(data)

    def chunk(offset_bytes: int, content: bytes) -> WriteArtifact:
        return WriteArtifact(
            sha256=digest, size_bytes=len(data), offset_bytes=offset_bytes, data=content
        )

    async def write(offset_bytes: int, content: bytes) -> bool:
        request = chunk(offset_bytes, content)
        return (await stage.publisher.request(WRITE_ARTIFACT, request)).complete

    assert not await write(0, b"b" * CHUNK_BYTES)
    with pytest.raises(RefusedError) as caught:
        await write(CHUNK_BYTES, b"tail")
    assert caught.value.refusal_code == "verification_failed"
    assert caught.value.reasons[0].allowed == digest

    assert not await write(CHUNK_BYTES, b"tail")
    assert await write(0, b"a" * CHUNK_BYTES)
    assert await write(0, b"a" * CHUNK_BYTES)


@pytest.mark.parametrize(
    ("offset_bytes", "content", "path"),
    [(1, b"x", "offset_bytes"), (0, b"short", "data"), (CHUNK_BYTES * 9, b"x", "offset_bytes")],
)
async def test_a_chunk_that_does_not_fit_is_refused(
    stage: Stage, offset_bytes: int, content: bytes, path: str
) -> None:
    """Place and length of a chunk follow from the whole's size."""
    request = WriteArtifact(
        sha256="a" * 64, size_bytes=CHUNK_BYTES * 2, offset_bytes=offset_bytes, data=content
    )

    with pytest.raises(RefusedError) as caught:
        await stage.publisher.request(WRITE_ARTIFACT, request)

    assert [reason.path for reason in caught.value.reasons] == [path]


async def test_a_node_reads_what_it_shall_run_and_nothing_else(stage: Stage) -> None:
    """Without a ticket only the archives in a node's own desired record are open to it."""
    published = await stage.publish()
    one, two = await stage.buses.open("node", "n1"), await stage.buses.open("node", "n2")
    scheduler = await stage.buses.open("service-scheduler")
    await scheduler.bucket(DESIRED).put("n1", _desired("n1", BUILT))

    assert await stage.read(one, published.archive_sha256) == BUILT.archive
    with pytest.raises(RefusedError) as denied:
        await stage.read(two, published.archive_sha256)
    with pytest.raises(RefusedError) as impostor:
        await two.request(
            READ_ARTIFACT.at(node="n1"), ReadArtifact(sha256=published.archive_sha256)
        )

    assert denied.value.refusal_code == "not_permitted"
    assert impostor.value.refusal_code == "not_permitted"


async def test_only_publishers_publish(stage: Stage) -> None:
    """A viewer is refused by the bus, whatever signature it brings."""
    viewer = await stage.buses.open("viewer", "vera")
    command = PublishPackage(signed=sign(BUILT.manifest, archive=BUILT.archive))

    with pytest.raises(RefusedError) as caught:
        await viewer.request(PUBLISH_PACKAGE, command)

    assert caught.value.refusal_code == "not_permitted"


async def test_an_upload_outlives_the_catalog(stage: Stage) -> None:
    """Killed between two chunks, and between upload and publication: nothing has to be repeated."""
    built = a_built_package(padding_bytes=CHUNK_BYTES)
    digest, size_bytes = hashlib.sha256(built.archive).hexdigest(), len(built.archive)
    answers = []
    for offset_bytes in range(0, size_bytes, CHUNK_BYTES):
        data = built.archive[offset_bytes : offset_bytes + CHUNK_BYTES]
        request = WriteArtifact(
            sha256=digest, size_bytes=size_bytes, offset_bytes=offset_bytes, data=data
        )
        answers.append(await stage.publisher.request(WRITE_ARTIFACT, request))
        stage.catalog.kill()
        await stage.catalog.start(stage.publisher)

    assert [answer.complete for answer in answers] == [False, True]
    command = PublishPackage(signed=sign(built.manifest, archive=built.archive))
    published = await stage.publisher.request(PUBLISH_PACKAGE, command)
    assert published.archive_sha256 == digest


async def test_a_stop_is_clean(stage: Stage) -> None:
    """SIGTERM ends the catalog with status 0, and what was published is there afterwards."""
    await stage.publish()

    assert stage.catalog.stop() == 0
    await stage.catalog.start(stage.publisher)

    assert (await stage.resolve()).package.version == "1.0.0"


def _desired(node: str, built: BuiltPackage) -> DesiredNode:
    program = DesiredProgram(
        deployment="limit",
        revision=1,
        package=built.manifest.name,
        version=built.manifest.version,
        program="rate-limit",
        function="rate_limit",
        object="rate_limit.bpf.o",
        order=1,
        proceed_on=("pass",),
        signed=sign(built.manifest, archive=built.archive),
    )
    cause = Cause(command_id="a-command")
    chain = DesiredChain(interface="eth0", hook="xdp", programs=(program,), cause=cause)
    return DesiredNode(node=node, generation=1, chains=(chain,))


async def test_tests_of_what_is_not_there_are_refused(stage: Stage) -> None:
    """The signed tests are read at publication, and all that fits nothing is named at once."""
    manifest = msgspec.structs.replace(BUILT.manifest, metrics={}, version="one")

    error = await stage.refused(signed=sign(manifest, archive=BUILT.archive))

    assert error.refusal_code == "invalid_request"
    assert {reason.path for reason in error.reasons} == {
        "manifest.version",
        *(f"tests[{number}].metrics.received" for number in range(7)),
        *(f"tests[{number}].metrics.dropped" for number in (0, 1, 2, 4, 5, 6)),
        *(f"tests[{number}].metrics.dropped-by-source" for number in (4, 5, 6)),
    }
