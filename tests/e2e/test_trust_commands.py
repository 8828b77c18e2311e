# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust from the operator's desk to the kernel: two of three sign, keys rotate and are revoked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.package_new import begin_package
from demo.stage import Answer, Stage

HOLDERS = ("alice", "bob", "carol")
DEPLOYMENT = """\
name = "guarded"
package = "guarded"
version = "{version}"
hook = "xdp"
interfaces = ["data0"]
nodes = {{ names = ["host-1"] }}
"""


def credentials(system: Stage, name: str) -> tuple[str, str]:
    """The option by which a command is this principal's."""
    return ("--credentials", str(system.installation / "credentials" / "principals" / name))


def built(system: Stage, folder: Path, version: str) -> str:
    """The archive of a version, with what lies beside it."""
    source = Path(begin_package("guarded", "xdp", folder / version).folder)
    described = source / "package.toml"
    text = described.read_text()
    described.write_text(text.replace('version = "1.0.0"', f'version = "{version}"'))
    made = system.must("package", "build", str(source), "--out-dir", str(folder))
    assert Path(made["provenance"]).is_file()
    return str(made["archive"])


def rules(answer: Answer) -> list[str]:
    """Why a command was refused."""
    assert answer.status == 2, answer
    return [reason["rule"] for reason in answer.output["reasons"]]


@pytest.fixture(scope="module")
def holders(system: Stage) -> None:
    """Three publishers, of whom two must sign; the document is in force."""
    for name in HOLDERS:
        system.must("principal", "add", name, "--role", "publisher")
    system.must("trust", "init")
    for name in HOLDERS:
        system.must("trust", "add-key", name)
    system.must("trust", "threshold", "2")
    pushed = system.must("trust", "push", "--reason", "two of three from today on")
    assert pushed["version"] == 5


def deployed(system: Stage, version: str) -> Answer:
    """What becomes of a deployment of this version."""
    file = system.document("guarded.toml", DEPLOYMENT.format(version=version))
    return system.l3af("deploy", str(file))


def running(system: Stage) -> list[dict[str, Any]]:
    """The programs on the hook."""
    chains = system.must("chain", "show", "host-1")["chains"]
    return [program for one in chains for program in one["chain"]["programs"]]


@pytest.mark.usefixtures("holders")
def test_two_of_three_sign_then_it_runs_and_keys_come_and_go(system: Stage, tmp_path: Path) -> None:
    """One is too few; two publish it; rotation keeps it, and a revocation with all takes it."""
    archive = built(system, tmp_path, "1.0.0")
    alice, bob, carol = (credentials(system, name) for name in HOLDERS)

    alone = system.l3af("package", "publish", archive, *alice)
    assert rules(alone) == ["too few signatures: 1 of the 2 that namespace public demands"]

    signed = system.must("package", "sign", archive, *alice)
    assert (len(signed["signers"]), signed["has_provenance"]) == (1, True)
    system.must("package", "publish", archive, *bob)
    shown = system.must("package", "show", "guarded")["package"]
    assert shown["trust"]["signers"] == ["alice", "bob"]

    made = system.must("package", "provenance", "guarded", "--against", archive, *carol)
    assert made["signers"] == ["alice"]
    names = {
        one["name"]
        for one in made["statement"]["predicate"]["buildDefinition"]["resolvedDependencies"]
    }
    assert {"package.toml", "clang", "llvm-strip"} <= names

    assert deployed(system, "1.0.0").status == 0
    (program,) = running(system)
    assert (program["version"], program.get("unverified", "")) == ("1.0.0", "")

    # Alice gets a new key: what she signed stays, and her old key signs nothing new.
    old = tmp_path / "alice"
    old.mkdir()
    for file in Path(alice[1]).iterdir():
        (old / file.name).write_bytes(file.read_bytes())
    system.must("principal", "rotate", "alice")
    system.must("trust", "rotate", "alice")
    system.must("trust", "push")
    assert deployed(system, "1.0.0").status == 0
    second = built(system, tmp_path, "1.1.0")
    system.must("package", "sign", second, "--credentials", str(old))
    late = rules(system.l3af("package", "publish", second, *bob))
    assert late[0].startswith("alice's key expired at ")
    assert late[1] == "too few signatures: 1 of the 2 that namespace public demands"
    Path(second.replace(".l3afpkg", ".publication.json")).unlink()
    system.must("package", "sign", second, *alice)
    system.must("package", "publish", second, *bob)

    # Bob's key is taken back with all that it ever signed: nothing of it is handed out any more.
    system.must("trust", "revoke", "bob", "--older", "reject")
    system.must("trust", "push", "--reason", "bob's laptop is gone")
    gone = rules(deployed(system, "1.0.0"))
    assert gone[0].startswith("bob's key was revoked at ")
    assert gone[0].endswith("with all that it ever signed")

    in_force = system.must("trust", "show", *carol)
    assert (in_force["document"]["version"], in_force["mode"]) == (7, "trusted")
    assert in_force["clock"] in in_force["document"]["clocks"]


@pytest.mark.usefixtures("holders")
def test_what_nobody_signed_is_refused_by_a_trusted_catalog(system: Stage, tmp_path: Path) -> None:
    """Asking for it does not switch anything off."""
    archive = built(system, tmp_path, "2.0.0")
    refused = system.l3af(
        "package", "publish", archive, "--unsigned", *credentials(system, "carol")
    )

    assert rules(refused)[0] == "the package is not signed"
