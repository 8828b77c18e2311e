# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages for the licence engine, with defaults, so that a test shows only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from shared.adapters.licence_policies import load_policy
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.package_facts import ElfFacts, ProgramFacts
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import LicencePolicy
from shared.licensing.verdict import check_licences
from tests.package_builders import a_manifest, some_facts

policy = cache(load_policy)
COMPLETE: Mapping[str, bytes] = {
    "LICENSES/BSD-2-Clause.txt": b"BSD",
    "LICENSES/GPL-2.0-only.txt": b"GPL",
    "one.bpf.c": b"int one;\n",
    "one.bpf.o": b"\x7fELF one",
}


def an_object(
    licence: str,
    *,
    helpers: tuple[int, ...] = (),
    kernel_functions: tuple[str, ...] = (),
    section: str = "xdp",
    function: str = "one",
    **changes: Any,
) -> ElfFacts:
    """An object of one function."""
    program = ProgramFacts(
        function=function,
        section=section,
        instructions=2,
        helpers=helpers,
        kernel_functions=kernel_functions,
    )
    return some_facts(licence=licence, programs=(program,), **changes)


def licensed(
    spdx: str,
    *objects: ElfFacts,
    under: str | LicencePolicy = "gpl-ok",
    files: Mapping[str, bytes] = COMPLETE,
    tags: Mapping[str, str] | None = None,
    **changes: Any,
) -> LicensedPackage:
    """A package with these objects."""
    chosen = policy(under) if isinstance(under, str) else under
    kernels = changes.pop("kernels", ())
    manifest = a_manifest(files, licence=spdx, **changes)
    return LicensedPackage(manifest, objects, chosen, tags or {}, kernels)


def verdict(spdx: str, *objects: ElfFacts, **changes: Any) -> LicenceVerdict:
    """What the engine says of it."""
    return check_licences(licensed(spdx, *objects, **changes))


def broken(found: LicenceVerdict) -> dict[str, LicenceFinding]:
    """The rules that do not simply hold, by name."""
    return {one.rule: one for one in found.findings if one.outcome != "passed"}
