# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real catalog that demands verification, and one node's executor that verifies."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec

from cli.package_build import BuiltPackage
from cli.package_publish import upload
from shared.adapters.bus import Bus, connect
from shared.adapters.provisioning import provision
from shared.contracts.catalog import (
    PUBLISH_PACKAGE,
    RESOLVE_PACKAGE,
    PackagePublished,
    PublishPackage,
    ResolvePackage,
)
from shared.contracts.node import NODES, NodeRecord
from shared.contracts.package_tests import PackageTest, PackageTests
from shared.contracts.verification import (
    GET_MATRIX,
    VERIFICATIONS,
    GetMatrix,
    VerificationMatrix,
    VerificationReport,
    verification_key,
)
from shared.dsse import manifest_digest
from shared.errors import FaultError, RefusedError
from shared.package_archive import describe_files, unpack_archive, write_archive
from shared.package_tests import TESTS_FILE, write_tests
from tests.package_builders import sign
from tests.support.catalog_process import CatalogProcess, a_built_package, write_publisher
from tests.support.command_line import Answer, run_l3af
from tests.support.node_fleets import NODE, Fleet

PACKAGE = "rate-limit"


class VerifyingFleet(Fleet):
    """Nothing but the scheduler is played."""

    kernels = 1
    """That every channel demands."""
    seconds = 60
    """For one trial."""

    async def open(self, stack: AsyncExitStack) -> None:
        """The bus is provisioned and the catalog answers."""
        self._stack = stack
        self.settings = {"NODE_EXECUTOR_LABELS": "verifier=true"}
        async with connect(self.server.credentials("provisioner")) as bus:
            await provision(bus.connection)
        self.catalog = await self._connect(stack, "service-catalog")
        self.scheduler = await self._connect(stack, "service-scheduler")
        self.publisher = await self._connect(stack, "publisher", "acme")
        await self.publisher.subscribe("l3af.v1.evt.public.catalog.>", self._on_event)
        self.catalog_process = CatalogProcess(
            self.server,
            self._folder / "catalog",
            settings={
                "CATALOG_VERIFICATION_KERNELS": str(self.kernels),
                "CATALOG_VERIFICATION_SECONDS": str(self.seconds),
            },
        )
        stack.callback(self.catalog_process.kill)
        await self.catalog_process.start(self.publisher)

    async def publish(self, built: BuiltPackage | None = None) -> PackagePublished:
        """Upload and publish."""
        package = built or a_built_package(PACKAGE)
        await upload(self.publisher, package.archive)
        signed = sign(package.manifest, archive=package.archive)
        self.digest = manifest_digest(signed)
        return await self.publisher.request(PUBLISH_PACKAGE, PublishPackage(signed=signed))

    async def matrix(self) -> VerificationMatrix:
        """What the kernels said of the package."""
        return await self.publisher.request(GET_MATRIX, GetMatrix(name=PACKAGE))

    async def _matrix_if_answered(self) -> VerificationMatrix | None:
        """None while a catalog that starts has not begun to listen."""
        try:
            return await self.matrix()
        except FaultError:
            return None

    async def until_matrix(self, *states: str) -> VerificationMatrix:
        """The matrix, once the version or its first node is in one of these states."""

        async def read() -> VerificationMatrix | None:
            found = await self._matrix_if_answered()
            return found if found and found.state in states else None

        found = await self.until(read)
        assert isinstance(found, VerificationMatrix)
        return found

    async def until_node_is(self, state: str, *, node: str = NODE) -> VerificationMatrix:
        """The matrix, once the node is in this state."""

        async def read() -> VerificationMatrix | None:
            found = await self._matrix_if_answered()
            states = {one.node: one.state for one in found.nodes} if found else {}
            return found if states.get(node) == state else None

        found = await self.until(read)
        assert isinstance(found, VerificationMatrix)
        return found

    async def stored(self, node: str = NODE) -> VerificationReport | None:
        """What the node reported of the package that was published last."""
        entry = await self.catalog.bucket(VERIFICATIONS).get(verification_key(node, self.digest))
        return entry.value if entry else None

    async def is_resolved(self) -> bool:
        """Whether a deployment could use it."""
        question = ResolvePackage(name=PACKAGE, constraint="*")
        try:
            await self.scheduler.request(RESOLVE_PACKAGE, question)
        except RefusedError as error:
            if error.refusal_code != "version_unsatisfied":
                raise
            return False
        return True

    async def second_node(self, name: str, *, kernel: str, labels: dict[str, str]) -> Bus:
        """The connection of a node that registered; nothing answers there."""
        bus = await self._connect(self._stack, "node", name)
        record = NodeRecord(
            node=name,
            hostname=name,
            architecture="x86_64",
            kernel=kernel,
            executor_version="1.0.0",
            boot_id="b",
            labels=labels,
        )
        await bus.bucket(NODES).put(name, record)
        return bus

    async def report(self, bus: Bus, like: VerificationReport) -> None:
        """The node says the same as `like`, of its own kernel and under its own key."""
        entry = await self.scheduler.bucket(NODES).get(bus.name)
        assert entry is not None
        own = msgspec.structs.replace(like, node=bus.name, kernel=entry.value.kernel)
        await bus.bucket(VERIFICATIONS).put(verification_key(bus.name, own.manifest_sha256), own)

    async def l3af(self, *words: str) -> Answer:
        """One command, as the publisher."""
        credentials = self.server.credentials("publisher", "acme")
        write_publisher(credentials)
        return await run_l3af(*words, credentials=credentials, folder=self._folder)

    def outcomes(self, action: str) -> list[tuple[str, str]]:
        """Node and outcome of the events of one action, in their order."""
        return [(e.data.node, e.data.outcome) for e in self.events if e.data.action == action]


def own_tests(built: BuiltPackage) -> tuple[PackageTest, ...]:
    """The tests that the package has."""
    return msgspec.json.decode(unpack_archive(built.archive)[TESTS_FILE], type=PackageTests).tests


def with_tests(built: BuiltPackage, *, wrong: bool = False, copies: int = 1) -> BuiltPackage:
    """The package with its tests several times over; in a wrong one each expects `aborted`."""
    files, tests = unpack_archive(built.archive), own_tests(built)
    files[TESTS_FILE] = write_tests(
        _wrong(renamed) if wrong else renamed
        for copy in range(copies)
        for test in tests
        for renamed in [msgspec.structs.replace(test, name=f"{test.name} {copy}")]
    )
    manifest = msgspec.structs.replace(built.manifest, files=describe_files(files))
    return BuiltPackage(manifest=manifest, archive=write_archive(files), elf=built.elf)


def _wrong(test: PackageTest) -> PackageTest:
    packets = tuple(msgspec.structs.replace(one, verdict="aborted") for one in test.packets)
    return msgspec.structs.replace(test, packets=packets)
