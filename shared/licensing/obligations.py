# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What licences ask to be handed out with the code, and what the files say of themselves.

Pure.  Serving an object to another party may be distribution; what it then takes (GPL-2.0 section
3: the source; all: the text) is looked for in the archive itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from shared.contracts.licences import LicenceFinding
from shared.licensing.compatibility import is_gpl_2
from shared.licensing.elections import elected_arm
from shared.licensing.expressions import Arm, ExpressionError, bare, parse_expression, render_arm
from shared.licensing.package import LicensedPackage, finding
from shared.licensing.source_tags import group_of

_WORD: Final = re.compile(r"[A-Za-z0-9.-]+")
_OPERATORS: Final = frozenset({"AND", "OR", "WITH"})
_SOURCE: Final = ".c"


def texts_present(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """The archive has the text of every licence that the expression names."""
    if not package.arms:
        return
    held = {file.path for file in package.manifest.files}
    words = dict.fromkeys(_WORD.findall(package.manifest.licence))
    missing = [
        word
        for word in words
        if word.upper() not in _OPERATORS and f"LICENSES/{word}.txt" not in held
    ]
    if missing:
        yield finding(
            "texts-present",
            package.policy.outcomes.get("texts-present", "review"),
            "archive[LICENSES]",
            f"the archive has no text of {', '.join(missing)}",
            f"put LICENSES/{missing[0]}.txt into the package's folder (`reuse download`)",
            licences=missing,
        )


def source_present(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Every object that is taken under the GPL comes with its source."""
    sources = [file.path for file in package.manifest.files if file.path.endswith(_SOURCE)]
    for facts in package.elf:
        arm = elected_arm(package, facts)
        if not is_gpl_2(arm) or facts.path in sources:
            continue
        stem = PurePosixPath(facts.path).stem
        if any(PurePosixPath(path).stem == stem for path in sources):
            continue
        yield finding(
            "source-present",
            "noted" if sources else package.policy.outcomes.get("source-present", "review"),
            f"archive[{facts.path}]",
            "no source in the archive has the object's name"
            if sources
            else f"is taken under {render_arm(arm)} and its source is not in the archive",
            f"put {facts.path.removesuffix('.o')}{_SOURCE} and what it includes into the archive; "
            "`l3af package build` does",
            file=facts.path,
            licences=[render_arm(arm)],
            sources=sources,
        )


def source_tags(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Every choice that the manifest offers is offered by each source that it is made of."""
    outcome = package.policy.outcomes.get("source-tags", "review")
    for path, tag in sorted(package.source_licences.items()):
        if group_of(path) != "kernel":
            continue
        try:
            offered = parse_expression(tag, path=path)
        except ExpressionError as error:
            yield finding(
                "source-tags",
                outcome,
                f"archive[{path}]",
                f"its SPDX tag {error.reasons[0].rule}",
                "write an SPDX expression behind SPDX-License" + "-Identifier:",
                file=path,
                spdx=tag,
            )
            continue
        lacking = sorted(
            render_arm(arm) for arm in package.arms if not any(_covers(one, arm) for one in offered)
        )
        if lacking:
            yield finding(
                "source-tags",
                outcome,
                f"archive[{path}]",
                f"is offered under {tag}, and the manifest promises {lacking[0]} of the whole",
                "leave that choice out of the manifest, or have the file offered under it as well",
                file=path,
                spdx=tag,
                manifest=package.manifest.licence,
                licences=lacking,
            )


def _covers(offered: Arm, promised: Arm) -> bool:
    """Whether code offered under the one may be part of a work that is offered under the other."""
    return bare(offered) <= bare(promised) or (is_gpl_2(promised) and is_gpl_2_part(offered))


def is_gpl_2_part(arm: Arm) -> bool:
    """Whether code under the arm may be part of a GPL-2.0 work."""
    return is_gpl_2(arm | {"GPL-2.0-only"})
