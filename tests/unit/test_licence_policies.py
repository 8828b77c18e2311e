# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Policy packs, what they refuse and elect, and what follows from being linked."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.licence_policies import load_policy
from shared.errors import RefusedError
from shared.licensing.chains import ChainMember, chain_findings, segments_by_licence
from shared.licensing.expressions import parse_expression
from shared.licensing.policies import SHIPPED, parse_policy
from shared.licensing.source_tags import source_licences
from shared.versions import parse_version
from tests.support.licensed_packages import COMPLETE, an_object, broken, policy, verdict

DUAL = "GPL-2.0-only OR BSD-2-Clause"
TAG = b"// SPDX-License" + b"-Identifier: "


@pytest.mark.parametrize("name", SHIPPED)
def test_each_pack_says_who_it_is_in_which_version(name: str) -> None:
    """A verdict names both, so that it can be told later what was asked."""
    found = load_policy(name)

    assert found.name == name
    assert str(parse_version(found.version, path="version")) == found.version


@pytest.mark.parametrize(
    ("spdx", "elf", "refusing"),
    [
        (DUAL, "Dual BSD/GPL", set()),
        ("GPL-2.0-only", "GPL", {"permissive-only"}),
        ("MIT", "MIT", {"lfn-l3af"}),
        ("Apache-2.0 OR GPL-2.0-or-later", "GPL", set()),
        ("GPL-3.0-only", "GPL-3.0-only", {"lfn-l3af", "cncf", "permissive-only"}),
        ("LGPL-2.1-only", "", {"lfn-l3af", "cncf", "permissive-only"}),
        ("LicenseRef-Acme", "Acme", {"lfn-l3af", "cncf", "permissive-only"}),
        ("MPL-2.0", "MPL-2.0", {"lfn-l3af", "cncf", "permissive-only"}),
        ("CC0-1.0", "", {"lfn-l3af", "cncf"}),
    ],
)
def test_kernel_code_is_refused_by_the_packs_that_do_not_take_it(
    spdx: str, elf: str, refusing: set[str]
) -> None:
    """Statements are true throughout; what differs is what is wanted."""
    found = {name: verdict(spdx, an_object(elf), under=name) for name in SHIPPED}

    assert {name for name, one in found.items() if one.outcome == "refused"} == refusing


def test_code_meant_for_linux_and_windows_may_not_be_under_the_gpl_alone() -> None:
    """The charter's projects share code with eBPF for Windows, which cannot take GPL-2.0-only."""
    both = ("linux", "windows")

    alone = verdict("GPL-2.0-only", an_object("GPL"), under="lfn-l3af", platforms=both)
    assert broken(alone)["policy-platforms"].outcome == "refused"
    assert "GPL-2.0-only OR BSD-2-Clause" in broken(alone)["policy-platforms"].fix
    for spdx, elf, platforms in ((DUAL, "Dual BSD/GPL", both), ("GPL-2.0-only", "GPL", ("linux",))):
        found = verdict(spdx, an_object(elf), under="lfn-l3af", platforms=platforms)
        assert "policy-platforms" not in broken(found)


def test_files_outside_the_kernel_are_judged_by_their_own_tags() -> None:
    """The charter wants documents under CC-BY-4.0 and other code under Apache-2.0."""
    tags = {"README.md": "Apache-2.0", "agent.py": "GPL-2.0-only", "one.bpf.c": DUAL}
    found = verdict(DUAL, an_object("Dual BSD/GPL"), under="lfn-l3af", tags=tags)

    files = {
        one.evidence["file"]: one.outcome for one in found.findings if one.rule == "policy-groups"
    }
    assert files == {"README.md": "review", "agent.py": "refused"}


def test_a_source_that_offers_less_than_the_manifest_is_found() -> None:
    """A header under GPL-2.0-only takes the BSD choice away from the whole."""
    tags = {"one.bpf.c": DUAL, "vmlinux.h": "GPL-2.0-only"}
    found = verdict(DUAL, an_object("Dual BSD/GPL"), tags=tags)

    assert broken(found)["source-tags"].evidence == {
        "file": "vmlinux.h",
        "spdx": "GPL-2.0-only",
        "group": "kernel",
        "manifest": DUAL,
        "licences": ["BSD-2-Clause"],
    }
    part = verdict("GPL-2.0-only", an_object("GPL"), tags={"part.h": "MIT", "x.h": "Apache-2.0"})
    assert broken(part)["source-tags"].evidence["file"] == "x.h"


def test_an_object_under_the_gpl_without_its_source_is_found() -> None:
    """Who hands it out owes the source; some policies refuse it."""
    files = {path: data for path, data in COMPLETE.items() if path != "one.bpf.c"}

    found = broken(verdict("GPL-2.0-only", an_object("GPL"), files=files))
    assert found["source-present"].outcome == "review"
    strict = verdict("GPL-2.0-only", an_object("GPL"), files=files, under="lfn-l3af")
    assert broken(strict)["source-present"].outcome == "refused"
    assert "source-present" not in broken(verdict("MIT", an_object("MIT"), files=files))


def test_missing_texts_of_licences_are_found() -> None:
    """Every licence wants its text handed out with the code."""
    found = broken(verdict("MIT OR GPL-2.0-only", an_object("Dual MIT/GPL")))

    assert found["texts-present"].evidence == {"licences": ["MIT"]}


@pytest.mark.parametrize(
    ("under", "helpers", "elected", "why"),
    [
        ("gpl-ok", (), "GPL-2.0-only", "policy gpl-ok prefers it"),
        ("permissive-only", (), "BSD-2-Clause", "policy permissive-only prefers it"),
        ("cncf", (), "BSD-2-Clause", "policy cncf prefers it"),
        ("cncf", (69,), "GPL-2.0-only", "function one calls bpf_fib_lookup (69)"),
    ],
)
def test_a_dual_licence_is_elected_for_a_reason(
    under: str, helpers: tuple[int, ...], elected: str, why: str
) -> None:
    """What only the GPL opens decides; then the policy's preference."""
    found = verdict(DUAL, an_object("Dual BSD/GPL", helpers=helpers), under=under)

    (election,) = found.elections
    assert (election.file, election.elected, election.declared) == ("one.bpf.o", elected, DUAL)
    assert election.why.startswith(why)


def test_the_only_choice_is_elected_as_such() -> None:
    """And no choice at all is no election."""
    assert verdict("MIT", an_object("MIT")).elections[0].why == "it is the only one"
    assert verdict("(", an_object("MIT")).elections == ()


def test_an_object_that_names_its_choice_is_taken_under_it() -> None:
    """Whoever tells the kernel `Apache-2.0` does not take the code under the GPL."""
    found = verdict("Apache-2.0 OR GPL-2.0-only", an_object("Apache-2.0"))

    (election,) = found.elections
    assert (election.elected, election.why) == ("Apache-2.0", "the object says 'Apache-2.0'")


def member(name: str, licence: str, spdx: str) -> ChainMember:
    """One program of a chain."""
    return ChainMember(name, licence, parse_expression(spdx, path=name))


def outcomes(*segments: tuple[ChainMember, ...]) -> dict[str, str]:
    """What the rules about chains come to."""
    return {one.rule: one.outcome for one in chain_findings(segments)}


def test_programs_that_may_be_one_work_are_linked_without_remark() -> None:
    """GPL-2.0-only goes with BSD and MIT, and dual code goes with both."""
    first, second = member("a", "Dual BSD/GPL", DUAL), member("b", "GPL", "GPL-2.0-only")

    assert set(outcomes((first, second)).values()) == {"passed"}


def test_works_that_exclude_each_other_in_one_program_are_for_review() -> None:
    """Both load, since each tells the kernel `GPL`-compatible strings."""
    first = member("a", "GPL", "GPL-2.0-only")
    second = member("b", "GPL", "GPL-2.0-only AND Apache-2.0")

    assert outcomes((first, second))["segment-combines"] == "review"


def test_both_kinds_in_one_kernel_program_are_refused_and_in_one_chain_for_review() -> None:
    """A kernel program has one string; the kernel checks segments apart."""
    gpl, closed = member("a", "GPL", "GPL-2.0-only"), member("b", "Acme", "LicenseRef-Acme")

    assert outcomes((gpl, closed))["segment-string"] == "refused"
    apart = segments_by_licence([gpl, closed, gpl])
    assert [len(one) for one in apart] == [1, 1, 1]
    assert outcomes(*apart) == {
        "segment-string": "passed",
        "segment-combines": "passed",
        "chain-mixed": "review",
    }


def test_tags_are_read_from_the_first_lines_of_texts() -> None:
    """Licence texts, package.toml and objects are no files that a licence is stated for."""
    files = {
        "a.c": TAG + b"GPL-2.0-only OR MIT\nint a;",
        "b.h": b"/* SPDX-License" + b"-Identifier: MIT */",
        "c.md": b"<!-- SPDX-License" + b"-Identifier: CC-BY-4.0 -->",
        "late.c": b" " * 5000 + TAG + b"MIT",
        "LICENSES/MIT.txt": TAG + b"MIT",
        "package.toml": TAG + b"MIT",
        "o.o": b"\x7fELF" + TAG + b"MIT",
    }

    assert source_licences(files) == {
        "a.c": "GPL-2.0-only OR MIT",
        "b.h": "MIT",
        "c.md": "CC-BY-4.0",
    }


OWN = """
name = "ours"
version = "2.1.0"
summary = "What our lawyers say"
[groups.kernel]
allows = ["MIT"]
because = "we like it short"
outcome = "review"
"""


def test_an_installation_may_write_its_own_pack(tmp_path: Path) -> None:
    """A file that ends with .toml is read wherever it lies."""
    path = tmp_path / "ours.toml"
    path.write_text(OWN)
    found = verdict("ISC", an_object("ISC"), under=load_policy(str(path)))

    assert (found.policy, found.policy_version, found.outcome) == ("ours", "2.1.0", "review")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("[groups.kernel]", "[groups.nowhere]"), "nowhere"),
        (("allows =", "permits ="), "permits"),
        (('"MIT"', '"MTI"'), "is not in the SPDX list"),
        (("2.1.0", "2.1"), "2.1"),
        (("name =", "= ="), "is not TOML"),
        (('"review"', '"maybe"'), "maybe"),
    ],
)
def test_a_pack_that_is_none_is_refused_with_what_is_wrong(
    change: tuple[str, str], rule: str
) -> None:
    """A typing error must not become a rule that nobody asks about."""
    with pytest.raises(RefusedError) as caught:
        parse_policy(OWN.replace(*change), path="ours.toml")
    assert any(
        rule in f"{reason.path} {reason.rule} {reason.got}" for reason in caught.value.reasons
    )


@pytest.mark.parametrize("name", ["nobody", "/nowhere/at-all.toml"])
def test_a_pack_that_is_not_there_is_refused(name: str) -> None:
    """By its name."""
    with pytest.raises(RefusedError, match=name):
        load_policy(name)


def test_no_pack_makes_a_false_statement_true() -> None:
    """What the kernel is told wrongly is refused under each."""
    for name in SHIPPED:
        found = broken(verdict("MIT", an_object("GPL"), under=policy(name)))
        assert found["kernel-string"].outcome == "refused"
