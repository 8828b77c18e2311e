# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Verification of published versions on the kernels of nodes: orders, reports and the matrix.

The catalog asks nodes that carry the label VERIFIER_LABEL.  A node tries the candidate beside all
else that it does and writes its report under a key that only it may write.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    INTERNAL,
    Accepted,
    Bucket,
    Command,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.catalog import SignedPackage
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.release_gate import ReleaseGate, VerdictOutcome
from shared.contracts.spaces import SpaceOrAny, SpaceText
from shared.identifiers import CommandIdText, Hook, Token

VERIFIER_LABEL: Final = "verifier"
"""Nodes with this label are asked, unless its value is `false`."""
MAX_TRIAL_SECONDS: Final = 3600


class ProgramVerified(Message, frozen=True, kw_only=True):
    """One test of the package, or a program on a hook that no test is about."""

    test: str
    """Name of the test; empty: the program was only loaded."""
    program: str
    hook: Hook
    has_passed: bool
    packets: int = 0
    verified_instructions: int = 0
    """What the verifier walked (`verified_insns`); 0: it was not loaded."""
    ns_per_packet: int = 0
    """Mean over the test's packets; 0: not measured."""
    problem: str = ""
    """First line of what was wrong: the verifier's own error, or the first difference."""


class VerificationReport(Message, frozen=True, kw_only=True):
    """KV `verifications`, key = node and manifest digest: what a node found out last."""

    node: str
    kernel: str
    machine: str
    package: str
    version: str
    manifest_sha256: str
    order: str
    outcome: VerdictOutcome
    at: str
    results: tuple[ProgramVerified, ...] = ()
    problem: str = ""
    """Why there are no results: the candidate took too long, or its archive is not in order."""


VERIFICATIONS: Final = Bucket("verifications", VerificationReport, has_writer_per_key=True)


def verification_key(node: str, manifest_sha256: str) -> str:
    """Where a node's report about a version is kept."""
    return f"{node}.{manifest_sha256}"


class VerifyOnNode(Request, frozen=True, kw_only=True):
    """Try this candidate on your kernel.  Asked again and again until there is a report."""

    order: CommandIdText
    signed: SignedPackage
    ticket: str
    """Lets the node read the archive."""
    seconds: Annotated[int, Meta(ge=1, le=MAX_TRIAL_SECONDS)]
    """What the trial may take; a candidate that takes longer has failed."""


class VerificationTaken(Message, frozen=True, kw_only=True):
    """The node is at it."""

    state: Literal["waiting", "running", "reported"]
    """`waiting`: for another candidate's trial to end."""
    problem: str = ""
    """Why the last attempt came to no report."""


class VerifyPackage(Command, frozen=True, kw_only=True):
    """Have every verifier try a version anew; what they said before no longer counts."""

    name: Token
    version: str
    space: SpaceOrAny = ""


class VerificationOrdered(Accepted, frozen=True, kw_only=True):
    """The nodes that are there are asked, and later ones too while the version waits."""

    name: str
    version: str
    space: Audience = PUBLIC
    verifiers: tuple[str, ...] = ()
    """Nodes that carry the label now."""
    awaits: tuple[str, ...] = ()
    """Channels that the version is not released to yet."""


class SettleVerification(Command, frozen=True, kw_only=True):
    """What the catalog asks itself when a report came or a version may be released."""

    name: Token
    version: str
    space: SpaceText = PUBLIC


class VerificationSettled(Accepted, frozen=True, kw_only=True):
    """What was reported is recorded, and what may be released is released."""

    channels: tuple[str, ...]
    awaits: tuple[str, ...]


class GetMatrix(Request, frozen=True, kw_only=True):
    """What the kernels said of a version; empty version: the youngest."""

    name: Token
    version: str = ""
    space: SpaceOrAny = ""


NodeVerification = Literal["passed", "failed", "running", "waiting", "overdue", "silent"]
"""`waiting`: not begun; `overdue`: no report in time; `silent`: it does not answer."""


class MatrixNode(Message, frozen=True, kw_only=True):
    """One node's column."""

    node: str
    kernel: str
    machine: str
    state: NodeVerification
    at: str = ""
    why: str = ""
    """Of a failure its first line; otherwise why there is no report."""
    results: tuple[ProgramVerified, ...] = ()
    """In the order of the package's tests; of the newest report."""
    left_out: int = 0
    """Results that had no room in this reply."""


GateState = Literal["not-demanded", "waiting", "released", "failed"]


class VerificationMatrix(Message, frozen=True, kw_only=True):
    """Kernels and programs of one version."""

    name: str
    version: str
    state: GateState
    """`not-demanded`: it was published to channels that ask for none."""
    channels: tuple[str, ...]
    """That it is released to."""
    gate: ReleaseGate | None = None
    """None: it was never verified."""
    kernels: tuple[str, ...] = ()
    """Different kernels that it passed on."""
    waits_for: tuple[str, ...] = ()
    """One sentence for each thing that is missing, or that keeps it out."""
    is_open: bool = False
    """Whether anything can still change without a new order."""
    nodes: tuple[MatrixNode, ...] = ()


VERIFY_ON_NODE: Final = Endpoint(
    f"{INTERNAL}.node.{{node}}.package.verify", VerifyOnNode, VerificationTaken
)
SETTLE_VERIFICATION: Final = Endpoint(
    f"{INTERNAL}.catalog.verification.settle", SettleVerification, VerificationSettled
)
"""Never served: it names the catalog's own command in its outbox."""
VERIFY_PACKAGE: Final = Endpoint(
    f"{API}.catalog.package.verify", VerifyPackage, VerificationOrdered
)
GET_MATRIX: Final = Endpoint(f"{API}.catalog.package.matrix", GetMatrix, VerificationMatrix)
