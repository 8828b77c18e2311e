# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong is refused clearly and changes nothing: no kernel, no state, no revision."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from demo.small_package import write_package
from demo.stage import ROOT, Answer, Stage

DeploymentText = Callable[..., str]


def _state(system: Stage) -> Any:
    chains = system.must("chain", "show", "host-1")["chains"]
    kernel = [(c["chain"]["program_id"], c["chain"]["generation"]) for c in chains]
    deployments = system.must("status")["deployments"]
    return kernel, [(d["name"], d["revision"]) for d in deployments]


def _refused(answer: Answer, code: str) -> dict[str, Any]:
    assert answer.status == 2, answer
    assert answer.output["code"] == code, answer.output
    refusal: dict[str, Any] = answer.output
    return refusal


@pytest.fixture(scope="module", autouse=True)
def _chain_runs(system: Stage) -> None:
    """The chain that must stay untouched."""
    text = (
        'name = "base"\npackage = "port-count"\nprogram = "port-count"\nhook = "xdp"\n'
        'interfaces = ["data0"]\norder = 5\n[nodes]\nnames = ["host-1"]\n'
    )
    system.must("deploy", str(system.document("base.toml", text)))


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"package": '"no-such-package"'}, "not_found", "no-such-package"),
        ({"version": '">=7"'}, "version_unsatisfied", ">=7"),
        ({"interfaces": '["nope0"]'}, "no_eligible_node", "nope0"),
        ({"order": "5"}, "conflict", "base"),
        ({"colour": '"blue"'}, "invalid_request", "colour"),
        ({"order": "70000"}, "invalid_request", "order"),
        ({"proceed_on": '["maybe"]'}, "invalid_request", "maybe"),
        ({"hook": '"tc-sideways"'}, "invalid_request", "hook"),
    ],
)
def test_a_bad_deployment_is_refused_and_changes_nothing(
    system: Stage, deployment_text: DeploymentText, changes: dict[str, str], code: str, named: str
) -> None:
    """The refusal has the right code and names what is wrong."""
    before = _state(system)

    answer = system.l3af("deploy", str(system.document("bad.toml", deployment_text(**changes))))

    assert named in str(_refused(answer, code))
    assert _state(system) == before


def test_a_port_that_does_not_exist_is_refused_by_the_type_of_the_map(system: Stage) -> None:
    """70000 does not fit a 16-bit key; the path says which entry."""
    text = (
        'name = "limit"\npackage = "rate-limit"\nhook = "xdp"\ninterfaces = ["data0"]\norder = 20\n'
        '[nodes]\nnames = ["host-1"]\n[config.rl_limits]\n70000 = 10\n80 = 10\n'
    )
    before = _state(system)

    answer = system.l3af("deploy", str(system.document("port.toml", text)))

    assert "rl_limits.70000" in str(_refused(answer, "invalid_request"))
    assert _state(system) == before


def test_what_the_verifier_rejects_is_refused_with_the_source_line(
    system: Stage, tmp_path: Path
) -> None:
    """The message holds the verifier's last word and the file and line it is about."""
    source = (
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
        'SEC("xdp") int unsafe(struct xdp_md *ctx)\n{\n'
        "    unsigned char *data = (void *)(long)ctx->data;\n"
        "    return data[7] ? XDP_PASS : XDP_DROP;\n}\n"
        'char _license[] SEC("license") = "Dual BSD/GPL";\n'
    )
    folder = write_package(tmp_path, name="unsafe", source=source)
    system.must("package", "publish", str(folder))
    text = (
        'name = "unsafe"\npackage = "unsafe"\nhook = "xdp"\ninterfaces = ["data0"]\norder = 30\n'
        '[nodes]\nnames = ["host-1"]\n'
    )
    before = _state(system)

    answer = system.l3af("deploy", str(system.document("unsafe.toml", text)))

    refusal = str(_refused(answer, "verifier_rejected"))
    assert "outside of the packet" in refusal
    assert "unsafe.bpf.c:6" in refusal
    assert _state(system) == before


def test_a_tampered_archive_is_refused(system: Stage, tmp_path: Path) -> None:
    """One flipped byte is found before anything is published."""
    path = tmp_path / "tampered.l3afpkg"
    system.must("package", "build", str(ROOT / "packages" / "port-count"), "--out", str(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    before = system.must("package", "list")

    answer = system.l3af("package", "publish", str(path))

    assert answer.status == 2
    assert system.must("package", "list") == before


def test_a_key_without_the_right_is_refused_at_once(
    system: Stage, deployment_text: DeploymentText
) -> None:
    """A viewer's deploy is refused as not permitted, by the server, without a time-out."""
    system.must("principal", "add", "onlooker", "--role", "viewer")
    credentials = system.installation / "credentials" / "principals" / "onlooker"
    path = system.document("viewer.toml", deployment_text(order="40"))
    before = _state(system)

    answer = system.l3af("deploy", str(path), "--credentials", str(credentials))

    _refused(answer, "not_permitted")
    assert _state(system) == before


def _process_id(system: Stage, name: str) -> int:
    return int((system.installation / "run" / f"{name}.pid").read_text())


def _parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


@contextmanager
def _down(system: Stage, process: str) -> Iterator[None]:
    """The process is dead and its supervisor is kept from starting it again."""
    pid = _process_id(system, process)
    supervisor = _parent(pid)
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
        deadline = monotonic() + 20
        questions = (("chain", "show", "host-1"), ("package", "list"))
        while any(system.l3af(*words).status for words in questions):
            assert monotonic() < deadline, f"{process} did not come back"


@pytest.mark.parametrize("process", ["catalog", "node_executor-host-1"])
def test_a_part_that_is_down_is_named_and_nothing_changes(
    system: Stage, deployment_text: DeploymentText, process: str
) -> None:
    """A dead catalog or node makes the deploy fail as unavailable, and nothing is half done."""
    before = _state(system)
    path = system.document("down.toml", deployment_text(order="50"))

    with _down(system, process):
        answer = system.l3af("deploy", str(path), "--timeout", "2")
        assert answer.status == 3, answer
        assert process.split("-", 1)[-1] in str(answer.output)

    assert _state(system) == before
