# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package lint`: every refusal of publication before it happens, and what is missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.package_lint import PackageLinted, lint_package
from cli.package_new import begin_package
from shared.errors import RefusedError
from shared.identifiers import Hook

PACKAGES = Path(__file__).parents[2] / "packages"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package that nothing can be said against."""
    return Path(
        begin_package(
            "one", "xdp", tmp_path, owners=["kim"], repository="https://git.example.org/one.git"
        ).folder
    )


def _replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def _said(linted: PackageLinted, severity: str) -> dict[str, str]:
    found = [one for one in linted.findings if one.severity == severity]
    assert all(one.path and one.fix for one in found)
    return {one.path: one.rule for one in found}


@pytest.mark.parametrize("name", ["exec-count", "port-count", "rate-limit"])
def test_the_packages_that_come_along_are_clean(name: str) -> None:
    """Nothing is left to better in them, but that they come with the product and from nowhere."""
    assert [one.path for one in lint_package(PACKAGES / name).findings] == ["source"]


def test_a_new_package_is_clean(folder: Path) -> None:
    """So whatever lint says later is about what its author did."""
    assert lint_package(folder).findings == ()


@pytest.mark.parametrize("hook", ["tracepoint", "cgroup", "iterator", "lsm"])
def test_a_new_probe_is_clean_too(hook: Hook, tmp_path: Path) -> None:
    """Nobody asks for its place in a chain, for packets, or to do without what its kind needs."""
    begun = begin_package(
        "one", hook, tmp_path, owners=["kim"], repository="https://git.example.org/one.git"
    )

    assert lint_package(Path(begun.folder)).findings == ()


def test_a_probe_that_nobody_can_load_before_it_is_deployed_is_told(tmp_path: Path) -> None:
    """Its section names no function to verify it against; and packets do not test it."""
    folder = Path(begin_package("one", "fentry", tmp_path, owners=["kim"]).folder)
    _replace(folder / "one.bpf.c", 'SEC("fentry/vfs_unlink")', 'SEC("fentry")')
    assert _said(lint_package(folder), "warning")["programs[0]"].startswith("section fentry of one")

    test = '\n[[test]]\nname = "t"\npackets = [{ packet = "ipv4 / icmp", verdict = "pass" }]\n'
    (folder / "package.toml").write_text((folder / "package.toml").read_text() + test)
    assert _said(lint_package(folder), "error") == {
        "test[0].program": "is a fentry, which no packet passes, so it has no tests"
    }


def test_a_package_is_missed_an_owner_and_a_place(tmp_path: Path) -> None:
    """Neither can be made up for a new package, so both are asked for."""
    begun = begin_package("one", "xdp", tmp_path)

    assert [one.path for one in lint_package(Path(begun.folder)).findings] == ["owners", "source"]


def test_statements_that_nobody_would_find_are_asked_for(folder: Path) -> None:
    """No place in chains, features that no node has, and buffers that only the object tells of."""
    _replace(folder / "package.toml", "order = 500 ", "# ")
    _replace(folder / "package.toml", "[needs]", '[needs]\nfeatures = ["bft"]')
    _replace(folder / "one.bpf.c", 'SEC("xdp")', 'SEC("xdp.frags")')

    assert _said(lint_package(folder), "warning").keys() == {
        "needs.features[0]",
        "programs[0].order",
        "programs[0].flags",
    }


def test_problems_of_every_kind_are_told_at_once(folder: Path) -> None:
    """A missing licence text, a packet that is none and a source that does not compile."""
    (folder / "LICENSES" / "BSD-2-Clause.txt").unlink()
    _replace(folder / "package.toml", "ipv4 / udp dport=23", "ipv4 / smtp")
    _replace(folder / "one.bpf.c", "__u16 port;", "__u16 port")

    errors = _said(lint_package(folder), "error")

    assert "LICENSES/BSD-2-Clause.txt" in errors
    assert "test[0].packets[2].packet" in errors
    assert any(path.startswith("one.bpf.c:") for path in errors)


def test_what_the_catalog_would_refuse_is_an_error(folder: Path) -> None:
    """Sections, maps and licences are judged by the catalog's own rules."""
    _replace(folder / "package.toml", 'hooks = ["xdp"]', 'hooks = ["xdp", "tc-ingress"]')
    _replace(folder / "package.toml", 'map = "dropped"', 'map = "lost"')
    _replace(folder / "one.bpf.c", '"Dual BSD/GPL"', '"Dual MIT/GPL"')

    linted = lint_package(folder)
    errors = _said(linted, "error")

    assert {"manifest.programs[0].hooks", "manifest.metrics.dropped.map"} <= errors.keys()
    assert any("license" in path for path in errors)
    assert linted.errors == len(linted.findings) - linted.warnings


MEMBERS = " ".join(f"__u32 a_member_with_a_long_name_{number};" for number in range(200))
WIDE_MAP = """struct {{
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct wide);
	__uint(max_entries, 1);
}} wide_{number} SEC(".maps");
"""


def test_what_the_catalog_could_not_keep_is_an_error(folder: Path) -> None:
    """Thirty maps of two hundred members each; publication would refuse the first version."""
    maps = "".join(WIDE_MAP.format(number=number) for number in range(30))
    _replace(folder / "one.bpf.c", 'SEC("xdp")', f'struct wide {{ {MEMBERS} }};\n{maps}SEC("xdp")')
    toml = folder / "package.toml"
    offers = "".join(f'[maps.wide_{number}]\nsummary = "wide"\n' for number in range(30))
    toml.write_text(toml.read_text() + offers)

    said = _said(lint_package(folder), "error")

    assert list(said) == ["manifest"]
    assert "keeps at most" in said["manifest"]


def test_what_users_would_miss_is_a_warning(folder: Path) -> None:
    """No README, no words on maps, programs nobody tests or can deploy, and compiler warnings."""
    (folder / "README.md").unlink()
    _replace(folder / "package.toml", 'summary = "Ports that get nothing"\n', "")
    text = (folder / "package.toml").read_text()
    (folder / "package.toml").write_text(text[: text.index("[[test]]")])
    _replace(
        folder / "one.bpf.c",
        "char LICENSE[]",
        'SEC("xdp") int unused(struct xdp_md *ctx)\n{\n\tint nothing;\n\treturn XDP_PASS;\n}\n'
        "char LICENSE[]",
    )
    linted = lint_package(folder)
    warnings = _said(linted, "warning")

    assert linted.errors == 0
    assert {"README.md", "maps.blocked", "programs[0]", "one.bpf.o.unused"} <= warnings.keys()
    assert any("unused variable" in rule for rule in warnings.values())


def test_a_policy_can_be_chosen(folder: Path) -> None:
    """What one installation takes, another refuses; and a policy must be one."""
    assert lint_package(folder, policy="permissive-only").policy == "permissive-only"
    with pytest.raises(RefusedError):
        lint_package(folder, policy="none-such")
