# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What was found out about licences: every rule that was looked at, and what it comes to."""

from __future__ import annotations

from typing import Any, Final, Literal

from shared.contracts.base import Document, Message
from shared.contracts.package_manifest import FileGroup

LicenceOutcome = Literal["passed", "noted", "review", "refused"]
"""`noted`: worth knowing; `review`: somebody has to look; `refused`: it cannot be published."""
OUTCOMES: Final[tuple[LicenceOutcome, ...]] = ("passed", "noted", "review", "refused")
"""The mildest first."""


class LicenceFinding(Message, frozen=True, kw_only=True):
    """One rule at one place; a rule that holds everywhere is one finding that has passed."""

    rule: str
    """Stable name, as `gpl-only-helpers`; docs/licences.md has them all."""
    outcome: LicenceOutcome
    path: str = ""
    """Where, as `archive[a.bpf.o].license`."""
    text: str = ""
    """One sentence."""
    evidence: dict[str, Any] = {}
    """What was found there: file, function, helpers, kernel_functions, elf, spdx, licences."""
    allowed: tuple[str, ...] = ()
    """What would be accepted there, if it can be listed."""
    fix: str = ""
    """What would make the rule hold; one sentence."""
    waiver: str = ""
    """Id of the waiver by whose grace it stops nothing; it counts as `noted` then."""


class LicenceElection(Message, frozen=True, kw_only=True):
    """Which of the choices that a package offers its kernel code is taken under."""

    file: str
    elected: str
    """SPDX expression without OR."""
    declared: str
    """The expression that offers it."""
    why: str


class LicenceVerdict(Message, frozen=True, kw_only=True):
    """What a policy says of one version of one package."""

    policy: str
    policy_version: str
    outcome: LicenceOutcome
    """The gravest among the findings."""
    findings: tuple[LicenceFinding, ...]
    elections: tuple[LicenceElection, ...] = ()


class TaggedFiles(Message, frozen=True, kw_only=True):
    """Files of one group that state one licence."""

    group: FileGroup
    tag: str
    """Their SPDX tag."""
    path: str
    """Of one of them."""


class LicenceFacts(Message, frozen=True, kw_only=True):
    """What a policy is asked about, so that another one can be asked later."""

    licence: str
    """SPDX expression of the kernel code, as the manifest says it."""
    licences: dict[FileGroup, str] = {}
    """The same of groups of files."""
    platforms: tuple[str, ...] = ()
    tags: tuple[TaggedFiles, ...] = ()
    """Of groups of which the manifest says nothing; each pair of group and tag once."""
    more_tags: int = 0
    """Further pairs that are left out."""


class StatedLicence(Document, frozen=True, kw_only=True):
    """What the catalog said of the licence of an object when its version was accepted."""

    declared: str
    """The manifest's SPDX expression for kernel code."""
    elected: str = ""
    """The choice that is taken of it; empty: none was elected."""
    policy: str = ""
    """Name and version of the policy that was asked; empty: none was."""
    findings: tuple[str, ...] = ()
    """Rules that did not simply hold, as `gpl-only-helpers: review`."""
    waivers: tuple[str, ...] = ()
    """Ids of the waivers by whose grace it was published."""


class ProgramLicence(Message, frozen=True, kw_only=True):
    """Under which licences a program runs: what was stated, and what the kernel has."""

    declared: str = ""
    elected: str = ""
    policy: str = ""
    findings: tuple[str, ...] = ()
    waivers: tuple[str, ...] = ()
    elf: str = ""
    """The licence string of the object that was loaded."""
    gpl_compatible: bool = False
    """What the kernel says of the program that it runs in (`bpf_prog_info.gpl_compatible`)."""
    gpl_only_helpers: tuple[str, ...] = ()
    """Helpers it calls that this kernel opens to GPL-compatible programs alone."""
