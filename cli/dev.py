# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af dev`: a package built, tested and deployed again whenever one of its files changes."""

from __future__ import annotations

import asyncio
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Annotated, Final, TypeAlias

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.text import Text

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.deployment_document import read_deployment
from cli.package_build import BuiltPackage, build_package, visible_files
from cli.package_publish import load_publisher, upload
from cli.package_test import render as render_tests
from cli.package_test import run_tests
from cli.rollout import chosen_id, insist, until_over
from shared.contracts.base import Message
from shared.contracts.catalog import PUBLISH_PACKAGE, PublishPackage
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.package_tests import PackageTested
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.errors import FaultError, Reason, Refusal, RefusedError
from shared.versions import parse_version

POLL_SECONDS: Final = 0.2
DEPLOYING_SECONDS: Final = 60.0
REASON: Final = "l3af dev"

Fingerprint: TypeAlias = dict[str, tuple[int, int]]
"""By path: time of change in nanoseconds, size in bytes."""


class DevRound(Message, frozen=True, kw_only=True):
    """What came of one look at the sources."""

    package: str
    version: str = ""
    """What was published; empty: nothing was."""
    archive_bytes: int = 0
    """0: it could not be built."""
    tested: PackageTested | None = None
    places: int = 0
    """Where it runs now; 0: it was not deployed."""
    seconds: dict[str, float] = {}
    """By step: build, test, publish, deploy."""
    refusal: Refusal | None = None
    """Why it went no further; what ran before still runs."""

    @property
    def has_succeeded(self) -> bool:
        """Whether every step that was asked for was done."""
        return self.refusal is None and (self.tested is None or self.tested.has_passed)


def dev(
    folder: Path,
    deployment: Path | None = None,
    /,
    *,
    once: Annotated[bool, Parameter(negative=())] = False,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Build and test a package, and with a deployment deploy it, whenever a file changes.

    What is deployed is published as a prerelease, as 1.2.0-dev.20260101120000123, which only a
    deployment that names it gets.  What does not build or pass its tests is not deployed.
    Ctrl-C ends it; what runs goes on running.

    Parameters
    ----------
    folder
        Where `package.toml` is.
    deployment
        A deployment file; its version is replaced by what was built.
    once
        Do it once, and exit with status 2 if a step failed.
    """
    last = console.run(_watch(folder, deployment, credentials, once=once, json=json), json=json)
    if not last.has_succeeded:
        sys.exit(console.REFUSED)


async def _watch(
    folder: Path, deployment: Path | None, credentials: Path | None, *, once: bool, json: bool
) -> DevRound:
    """Rounds until the end of time, or one."""
    seen: Fingerprint | None = None
    while True:
        seen = await _settled(folder, deployment, since=seen)
        done = await work_through(folder, deployment, credentials)
        console.emit(done, _render, json=json)
        if once:
            return done
        console.say("watching for changes; Ctrl-C ends it", json=json)


async def _settled(
    folder: Path, deployment: Path | None, *, since: Fingerprint | None
) -> Fingerprint:
    """What is there once something changed and two looks agree: editors write in several steps."""
    before = since
    while True:
        found = await asyncio.to_thread(fingerprint, folder, deployment)
        if found == before and found != since:
            return found
        before = found
        await asyncio.sleep(POLL_SECONDS)


def fingerprint(folder: Path, deployment: Path | None) -> Fingerprint:
    """Time of change and size of every file that is not hidden, and of the deployment."""
    found: Fingerprint = {}
    for path in [*visible_files(folder), *([deployment] if deployment else [])]:
        try:
            state = path.stat()
        except OSError:  # an editor was faster, or it is a link to nowhere
            continue
        if stat.S_ISREG(state.st_mode):
            found[str(path)] = (state.st_mtime_ns, state.st_size)
    return found


async def work_through(folder: Path, deployment: Path | None, credentials: Path | None) -> DevRound:
    """Build, test, publish and deploy, as far as it goes."""
    done = DevRound(package=folder.name)
    watch = _Watch()
    try:
        built = await asyncio.to_thread(build_package, folder)
        watch.step("build")
        done = msgspec.structs.replace(
            done, package=built.manifest.name, archive_bytes=len(built.archive)
        )
        if built.manifest.tests is not None:
            tested = await asyncio.to_thread(run_tests, built)
            watch.step("test")
            done = msgspec.structs.replace(done, tested=tested)
        if deployment is not None and done.has_succeeded:
            spec = await asyncio.to_thread(read_deployment, deployment)
            check_is_deployed(spec, built)
            version = dev_version(built, datetime.now(UTC))
            places = await _roll_out(built, spec, version, credentials, watch)
            done = msgspec.structs.replace(done, version=version, places=places)
    except (RefusedError, FaultError) as error:
        done = msgspec.structs.replace(done, refusal=error.refusal())
    return msgspec.structs.replace(done, seconds=watch.seconds)


def dev_version(built: BuiltPackage, now: datetime) -> str:
    """A prerelease of the package's version that nobody has published before."""
    version = parse_version(built.manifest.version, path="package.version")
    moment = f"{now:%Y%m%d%H%M%S}{now.microsecond // 1000:03}"
    return f"{version.major}.{version.minor}.{version.patch}-dev.{moment}"


def check_is_deployed(spec: DeploymentSpec, built: BuiltPackage) -> None:
    """Nothing, if the deployment is of this package.

    Raises:
        RefusedError: It is of another.
    """
    if spec.package != built.manifest.name:
        reason = Reason(
            path="deployment.package",
            rule="is another package",
            got=spec.package,
            allowed=built.manifest.name,
        )
        raise RefusedError(f"the deployment is of {spec.package}", [reason])


async def _roll_out(
    built: BuiltPackage,
    spec: DeploymentSpec,
    version: str,
    credentials: Path | None,
    watch: _Watch,
) -> int:
    """The version is published and runs; at how many places."""
    manifest = msgspec.structs.replace(built.manifest, version=version)
    named = BuiltPackage(manifest=manifest, archive=built.archive, elf=built.elf)
    signed = load_publisher(session.credentials_dir(credentials)).sign(named)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEPLOYING_SECONDS
    async with session.connected(credentials) as bus:
        await upload(bus, built.archive)
        await bus.request(
            PUBLISH_PACKAGE,
            PublishPackage(command_id=chosen_id(""), reason=REASON, signed=signed),
            timeout_seconds=DEPLOYING_SECONDS,
        )
        watch.step("publish")
        accepted = await insist(
            bus,
            APPLY_DEPLOYMENT,
            ApplyDeployment(
                spec=msgspec.structs.replace(spec, version=version),
                command_id=chosen_id(""),
                reason=REASON,
            ),
            deadline=deadline,
            waiting=lambda _: None,
        )
        status = await until_over(
            bus,
            accepted,
            deadline=deadline,
            patience_seconds=DEPLOYING_SECONDS,
            progressed=lambda _: None,
        )
        watch.step("deploy")
    return status.place_count


class _Watch:
    """How long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = perf_counter()

    def step(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name] = round(now - self._since, 3)
        self._since = now


def _render(done: DevRound) -> RenderableType:
    parts: list[RenderableType] = []
    if done.tested is not None:
        parts.append(render_tests(done.tested))
    if done.refusal is not None:
        parts.append(Text(plain(f"refused: {done.refusal.message}"), style="bold red"))
        parts += [Text(plain(f"  {one.path}: {one.rule}")) for one in done.refusal.reasons]
    steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in done.seconds.items())
    what = f"runs {done.version} at {done.places} places" if done.version else "not deployed"
    style = "bold green" if done.has_succeeded else "bold red"
    parts.append(Text(plain(f"{done.package}: {what} ({steps})"), style=style))
    return Group(*parts)
