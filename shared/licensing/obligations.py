# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What licences ask to be handed out with the code, and what the files say of themselves.

Pure.  Serving an object to another party may be distribution; what it then takes (GPL-2.0 section
3: the source; all: the text) is looked for in the archive itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, Final

from msgspec import to_builtins

from shared.contracts.licences import LicenceFinding
from shared.licensing.compatibility import is_gpl_2
from shared.licensing.elections import elected_arm
from shared.licensing.expressions import (
    Arm,
    ExpressionError,
    bare,
    licences_named,
    parse_expression,
    render_arm,
    text_path,
)
from shared.licensing.package import LicensedPackage, finding

_SOURCE: Final = ".c"


def texts_present(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """The archive has the text of every licence that the expressions name."""
    held = {file.path for file in package.manifest.files}
    missing = [one for one in named_licences(package) if text_path(one) not in held]
    if missing:
        yield finding(
            "texts-present",
            package.policy.outcome_of("texts-present"),
            "archive[LICENSES]",
            f"the archive has no text of {', '.join(missing)}",
            f"put LICENSES/{missing[0]}.txt into the package's folder (`reuse download`)",
            licences=missing,
        )


def named_licences(package: LicensedPackage) -> list[str]:
    """Every licence and exception that the manifest's expressions name, each once."""
    groups = [group for group in package.expressions if package.arms_of(group)]
    named = (licences_named(package.expressions[group]) for group in groups)
    return list(dict.fromkeys(chain.from_iterable(named)))


def sources_of(path: str, files: Iterable[str]) -> list[str]:
    """Sources among the files that an object may be made from: those with its name."""
    stem = PurePosixPath(path).stem
    return [one for one in files if one.endswith(_SOURCE) and PurePosixPath(one).stem == stem]


def source_present(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Every object that is taken under the GPL comes with its source."""
    sources = [file.path for file in package.manifest.files if file.path.endswith(_SOURCE)]
    for facts in package.elf:
        arm = elected_arm(package, facts)
        if not is_gpl_2(arm) or sources_of(facts.path, sources):
            continue
        yield _without_source(package, facts.path, render_arm(arm), sources)


def _without_source(
    package: LicensedPackage, path: str, elected: str, sources: list[str]
) -> LicenceFinding:
    """Sources in the archive, and a place where they are kept, may be what is asked for."""
    location = package.manifest.source
    evidence: dict[str, Any] = {"file": path, "licences": [elected], "sources": sources}
    fix = (
        f"put {path.removesuffix('.o')}{_SOURCE} and what it includes into the archive "
        "(`l3af package build` does), or say in [source] where it is kept"
    )
    if location is not None:
        evidence["source"] = to_builtins(location)
        text = f"its source is kept at {location.repository}, {location.revision}"
        fix = "none is needed as long as it can be had there"
        return finding("source-present", "noted", f"archive[{path}]", text, fix, **evidence)
    if sources:
        text = "no source in the archive has the object's name"
        return finding("source-present", "noted", f"archive[{path}]", text, fix, **evidence)
    outcome = package.policy.outcome_of("source-present")
    text = f"is taken under {elected} and its source is not in the archive"
    return finding("source-present", outcome, f"archive[{path}]", text, fix, **evidence)


def source_tags(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Every choice that is promised of a group of files is offered by each of them with a tag."""
    outcome = package.policy.outcome_of("source-tags")
    for path, tag in sorted(package.source_licences.items()):
        group = package.group_of(path)
        # What is shared becomes part of the kernel's objects, unless it has its own promise.
        group = "kernel" if group == "shared" and group not in package.expressions else group
        if group not in package.expressions:
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
        lacking = _lacking(offered, package.arms_of(group))
        if lacking:
            yield finding(
                "source-tags",
                outcome,
                f"archive[{path}]",
                f"is offered under {tag}, and the manifest promises {lacking[0]} of the whole",
                "leave that choice out of the manifest, or have the file offered under it as well",
                file=path,
                spdx=tag,
                group=group,
                manifest=package.expressions[group],
                licences=lacking,
            )


def shared_code(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Code of both sides is offered so that it can be part of either."""
    shared = package.arms_of("shared")
    for group in ("kernel", "user") if shared else ():
        promised = package.arms_of(group)
        lacking = _lacking(shared, promised)
        if lacking:
            yield finding(
                "shared-code",
                "refused" if len(lacking) == len(promised) else "review",
                package.expression_path("shared"),
                f"code that is part of the {group} code is not offered so that the whole can be "
                f"under {lacking[0]}",
                f"offer the shared code under {lacking[0]} as well",
                group=group,
                spdx=package.expressions["shared"],
                manifest=package.expressions[group],
                licences=lacking,
            )


def _lacking(offered: frozenset[Arm], promised: frozenset[Arm]) -> list[str]:
    """The promised choices that code offered so cannot be part of."""
    return sorted(
        render_arm(arm) for arm in promised if not any(_covers(one, arm) for one in offered)
    )


def _covers(offered: Arm, promised: Arm) -> bool:
    """Whether code offered under the one may be part of a work that is offered under the other."""
    return bare(offered) <= bare(promised) or (is_gpl_2(promised) and is_gpl_2_part(offered))


def is_gpl_2_part(arm: Arm) -> bool:
    """Whether code under the arm may be part of a GPL-2.0 work."""
    return is_gpl_2(arm | {"GPL-2.0-only"})
