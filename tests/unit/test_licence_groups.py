# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Each group of a package's files is judged by what is declared of it."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contracts.licences import LicenceFinding
from shared.contracts.package_manifest import SourceLocation
from tests.support.licensed_packages import COMPLETE, an_object, broken, verdict

GPL = an_object("GPL")
CHARTER: dict[str, Any] = {
    "licences": {"shared": "Apache-2.0 OR GPL-2.0-only", "user": "Apache-2.0", "docs": "CC-BY-4.0"},
    "file_groups": {"shared": ("common.h",)},
}
TEXTS = {
    f"LICENSES/{one}.txt": b"text" for one in ("GPL-2.0-only", "Apache-2.0", "CC-BY-4.0", "MIT")
}


def judge(spdx: str = "GPL-2.0-only", **changes: Any) -> dict[str, LicenceFinding]:
    """The rules that do not simply hold for a package of one object, under the charter."""
    fields = {**CHARTER, "files": {**COMPLETE, **TEXTS}, "under": "lfn-l3af", **changes}
    return broken(verdict(spdx, GPL, **fields))


def test_a_package_of_the_charter_s_groups_passes() -> None:
    """GPL-2.0 in the kernel, Apache-2.0 OR GPL-2.0 shared, Apache-2.0 otherwise."""
    tags = {
        "one.bpf.c": "GPL-2.0-only",
        "common.h": "Apache-2.0 OR GPL-2.0-only",
        "tool.py": "Apache-2.0",
        "README.md": "CC-BY-4.0",
    }

    assert judge(tags=tags) == {}


@pytest.mark.parametrize(
    ("group", "expression", "outcome"),
    [
        ("shared", "GPL-2.0-only", "refused"),
        ("shared", "Apache-2.0", "refused"),
        ("user", "MIT", "refused"),
        ("docs", "MIT", "review"),
    ],
)
def test_each_group_is_asked_for_what_the_charter_says_of_it(
    group: str, expression: str, outcome: str
) -> None:
    """By the expression that is declared, wherever it is declared."""
    found = judge(licences={**CHARTER["licences"], group: expression})["policy-groups"]

    assert (found.outcome, found.path) == (outcome, f"manifest.licences.{group}")


def test_kernel_code_is_judged_by_its_group_if_that_is_declared() -> None:
    """And the object's string with it."""
    found = judge("Apache-2.0", licences={"kernel": "MIT"}, file_groups={})

    assert found["kernel-string"].outcome == "refused"
    assert found["policy-groups"].path == "manifest.licences.kernel"


def test_a_tag_must_offer_what_its_group_is_declared_under() -> None:
    """A file that is shared by a glob is no kernel code, whatever its suffix."""
    found = judge(tags={"common.h": "GPL-2.0-only"})["source-tags"]

    assert (found.path, found.evidence["group"]) == ("archive[common.h]", "shared")
    assert found.evidence["licences"] == ["Apache-2.0"]


def test_shared_files_without_a_declaration_must_fit_the_kernel_code() -> None:
    """They become part of its objects."""
    licences = {"user": "Apache-2.0"}
    found = judge(licences=licences, tags={"common.h": "Apache-2.0"})

    assert found["source-tags"].evidence["group"] == "kernel"


def test_shared_code_must_be_possible_on_both_sides() -> None:
    """Apache-2.0 alone cannot be part of GPL-2.0 kernel code."""
    licences = {**CHARTER["licences"], "shared": "Apache-2.0"}
    found = judge(licences=licences, under="gpl-ok")["shared-code"]

    assert (found.outcome, found.evidence["group"]) == ("refused", "kernel")
    assert found.evidence["licences"] == ["GPL-2.0-only"]


def test_what_no_expression_is_is_refused_in_every_group() -> None:
    """With the place where it is written."""
    found = judge(licences={**CHARTER["licences"], "docs": "no licence"})["expression-valid"]

    assert (found.outcome, found.path) == ("refused", "manifest.licences.docs")


def test_texts_of_every_group_s_licences_are_looked_for() -> None:
    """Each is named once."""
    found = judge(files=COMPLETE)["texts-present"]

    assert found.evidence["licences"] == ["Apache-2.0", "CC-BY-4.0"]


def test_a_place_where_the_source_is_kept_is_source_for_a_gpl_object() -> None:
    """Without it the charter refuses an object that comes without source."""
    files = {"LICENSES/GPL-2.0-only.txt": b"GPL", "one.bpf.o": b"\x7fELF one"}
    source = SourceLocation(repository="https://example.org/one.git", revision="v1.0.0")
    bare: dict[str, Any] = {"licences": {}, "file_groups": {}, "files": files}

    assert judge(**bare)["source-present"].outcome == "refused"
    kept = judge(**bare, source=source)["source-present"]
    assert (kept.outcome, kept.evidence["source"]["revision"]) == ("noted", "v1.0.0")
