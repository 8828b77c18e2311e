# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Ranges of kernel releases, as `>=5.15,<7`, and whether a release is in one.

Pure.

Rules:
 * The grammar is that of package versions (`shared/versions`) without prereleases.
 * Of a release only the leading numbers count: `5.15.0-91-generic` is 5.15.0, and so is what
   distributions moved into it.  `6.19-rc3` is 6.19.0.
 * A release that begins with no number is in every range: nothing is known against it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from semver import Version

from shared.errors import Reason, RefusedError
from shared.versions import Constraint, parse_constraint

GRAMMAR: Final = ">=5.15, >5.15, <7, <=6.12, 6.1.0, ^6.1, ~6.1 or *, separated by commas"
_LEADING: Final = re.compile(r"(?a:(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?)")


def parse_kernel_range(text: str, *, path: str) -> Constraint:
    """The range that `text` is.

    Raises:
        RefusedError: It is none, or no release could be in it.
    """
    try:
        constraint = parse_constraint(text, path=path)
    except RefusedError as error:
        raise _refused(path, "is not a range of kernel releases", text) from error
    if constraint.named_prereleases or "+" in text:
        raise _refused(path, "names a prerelease, which kernels do not tell of themselves", text)
    if not _is_satisfiable(constraint):
        raise _refused(path, "is a range that no kernel is in", text)
    return constraint


def kernel_version(release: str) -> Version | None:
    """The numbers that a release (`uname -r`) begins with; None: it begins with none."""
    match = _LEADING.match(release)
    if match is None:
        return None
    major, minor, patch = (int(number or 0) for number in match.groups())
    return Version(major, minor, patch)


def is_in_range(release: str, kernel_range: str) -> bool:
    """Whether a kernel of this release may run what asks for the range; empty: every one may."""
    if not kernel_range:
        return True
    version = kernel_version(release)
    return version is None or _range(kernel_range).allows(version)


@lru_cache(maxsize=256)
def _range(text: str) -> Constraint:
    return parse_kernel_range(text, path="needs.kernel")


def _is_satisfiable(constraint: Constraint) -> bool:
    """A range of whole releases begins at 0.0.0, at one of its bounds or right behind one."""
    named = [bound.version for bound in constraint.bounds]
    candidates = [Version(0, 0, 0), *named, *(version.bump_patch() for version in named)]
    return any(constraint.allows(version) for version in candidates)


def _refused(path: str, rule: str, got: str) -> RefusedError:
    reason = Reason(path=path, rule=rule, got=got, allowed=GRAMMAR)
    return RefusedError(f"{path}: {rule}", [reason])
