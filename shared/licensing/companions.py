# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether executables of user space may be handed out with the libraries that they are linked to.

Pure, as far as can be read: an executable names its shared libraries (DT_NEEDED), and of what was
linked statically only libbpf says that it is there.

Rules:
 * A library under the LGPL or another weak copyleft licence stays replaceable when it is shared, so
   it asks nothing of the executable here.
 * A library under the GPL makes the executable, as it is handed out, a work under the GPL.
 * What is not in the table is named, and nothing is concluded from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shared.contracts.licences import LicenceFinding
from shared.contracts.package_analysis import CompanionAnalysis
from shared.licensing.compatibility import is_permissive, joint_arms, may_combine, never_combines
from shared.licensing.expressions import Arm, bare, category, parse_expression, render_arm
from shared.licensing.package import LicensedPackage, finding, listed

RULE: Final = "companion-libraries"
_STRONG: Final = "Copyleft"
_WEAK: Final = "Copyleft Limited"
_TABLE: Final[tuple[tuple[str, str], ...]] = (
    (r"ld-.*|lib(c|m|dl|rt|pthread|resolv|util|anl|nss_.*)\.so.*", "LGPL-2.1-or-later"),
    (r"libbpf\.so.*", "LGPL-2.1-only OR BSD-2-Clause"),
    (r"libxdp\.so.*", "LGPL-2.1-only OR BSD-2-Clause"),
    (r"lib(elf|dw)\.so.*", "GPL-2.0-or-later OR LGPL-3.0-or-later"),
    (r"libz\.so.*", "Zlib"),
    (r"libzstd\.so.*", "BSD-3-Clause OR GPL-2.0-only"),
    (r"liblzma\.so.*", "0BSD"),
    (r"lib(cap|psx)\.so.*", "BSD-3-Clause OR GPL-2.0-only"),
    (r"libcap-ng\.so.*", "LGPL-2.1-or-later"),
    (r"libpcap\.so.*", "BSD-3-Clause"),
    (r"lib(mnl|nfnetlink)\.so.*", "LGPL-2.1-or-later"),
    (r"libnl(-[a-z]+)?-3\.so.*", "LGPL-2.1-only"),
    (r"lib(nftnl|nftables|netfilter_queue|netfilter_log)\.so.*", "GPL-2.0-or-later"),
    (r"libnetfilter_conntrack\.so.*", "GPL-2.0-or-later"),
    (r"lib(systemd|udev)\.so.*", "LGPL-2.1-or-later"),
    (r"libseccomp\.so.*", "LGPL-2.1-only"),
    (r"lib(readline|history|bfd|opcodes)([-.].*)?\.so.*", "GPL-3.0-or-later"),
    (r"lib(ssl|crypto)\.so\.3", "Apache-2.0"),
    (r"libbcc\.so.*", "Apache-2.0"),
    (r"lib(json-c|yaml-0|uv|cjson)\.so.*", "MIT"),
    (r"libevent.*\.so.*", "BSD-3-Clause"),
)
"""Names of shared libraries and the licence that their projects state."""
_RUNTIME: Final = re.compile(r"lib(gcc_s|stdc\+\+|atomic|gomp)\.so.*|linux-vdso\.so.*")
"""Of the compiler, whose exception leaves the executable free (GCC-exception-3.1)."""


def companion_libraries(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Each executable may be handed out with what it is linked to."""
    for one in package.companions:
        if one.platform.startswith("linux-"):
            yield from _of_executable(package, one)


def _of_executable(package: LicensedPackage, one: CompanionAnalysis) -> Iterator[LicenceFinding]:
    group = package.group_of(one.path)
    expression = package.expressions.get(group, package.declared)
    offered = package.arms_of(group) or package.arms
    libraries = {name: _licence_of(name) for name in one.libraries if not _RUNTIME.fullmatch(name)}
    path, evidence = f"archive[{one.path}]", {"file": one.path, "spdx": expression}
    unknown = sorted(name for name, licence in libraries.items() if not licence)
    if unknown:
        yield finding(
            RULE,
            "noted",
            path,
            f"is linked to {listed(unknown)}, whose licence is not known here",
            "have it looked at whether it may be handed out with them",
            **evidence,
            libraries=unknown,
        )
    if not one.interpreter:
        within = f" but libbpf {one.libbpf}" if one.libbpf else ""
        yield finding(
            RULE,
            "noted",
            path,
            f"is linked statically, so nothing is known of what is part of it{within}",
            "have it looked at under which licences the libraries in it are",
            **evidence,
        )
    works = {name: parse_expression(text, path=name) for name, text in libraries.items() if text}
    if offered and works:
        yield from _joined(package, offered, works, path, evidence)


def _joined(
    package: LicensedPackage,
    offered: frozenset[Arm],
    works: dict[str, frozenset[Arm]],
    path: str,
    evidence: dict[str, str],
) -> Iterator[LicenceFinding]:
    asking = {name: arms for name, arms in works.items() if not any(map(_is_weak, arms))}
    possible = {
        name: [
            (one, other)
            for one in offered
            for other in arms
            if not never_combines(bare(one | other))
        ]
        for name, arms in asking.items()
    }
    excluding = sorted(name for name, pairs in possible.items() if not pairs)
    binding = sorted(name for name, pairs in possible.items() if not any(map(_is_free, pairs)))
    copyleft = [arms for arms in asking.values() if not any(map(is_permissive, arms))]
    if excluding:
        text = f"is linked to {listed(excluding)}, whose licence excludes that of the executable"
        outcome = package.policy.outcome_of(RULE)
    elif binding:
        text = (
            f"is a work under the GPL as it is handed out, since it is linked to {listed(binding)}"
        )
        outcome = "review"
    elif not joint_arms(copyleft):
        text = "no choice of the licences is known to allow it to be handed out with its libraries"
        outcome = "review"
    else:
        return
    licences = {name: sorted(map(render_arm, arms)) for name, arms in sorted(works.items())}
    fix = "offer the executable under that licence as well, or link it to another library"
    said = {"excluding": excluding} if excluding else {}
    yield finding(RULE, outcome, path, text, fix, **evidence, libraries=licences, **said)


def _is_weak(arm: Arm) -> bool:
    """Whether the library asks nothing of what is linked to it while it stays replaceable."""
    return all(category(licence) == _WEAK for licence in bare(arm))


def _is_free(pair: tuple[Arm, Arm]) -> bool:
    """Whether an executable under the one may be handed out with a library under the other."""
    executable, library = pair
    is_copyleft = any(category(licence) == _STRONG for licence in bare(executable))
    return is_permissive(library) or (is_copyleft and may_combine(executable | library))


def _licence_of(library: str) -> str:
    return next((text for name, text in _TABLE if re.fullmatch(name, library)), "")
