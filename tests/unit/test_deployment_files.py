# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Several deployments are read from files, a directory, or one file that holds them all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.deployment_files import read_deployments
from shared.errors import RefusedError

ONE = """\
name = "edge"
package = "rate-limit"
hook = "xdp"
interfaces = ["eth0"]
expiry = 2027-03-01T00:00:00Z
"""
OTHER = """\
name: guard
package: rate-limit
hook: xdp
interfaces: [eth0]
order: 7
"""


def _written(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def test_a_directory_is_all_its_documents_by_name(tmp_path: Path) -> None:
    """What is no document, and what is below, is not read."""
    (tmp_path / "below").mkdir()
    _written(tmp_path / "below", {"deep.toml": ONE})
    _written(tmp_path, {"b.toml": ONE, "a.yaml": OTHER, "README.md": "# none"})

    assert [spec.name for spec in read_deployments([tmp_path])] == ["guard", "edge"]
    assert read_deployments([tmp_path]) == read_deployments(
        [tmp_path / "a.yaml", tmp_path / "b.toml"]
    )


def test_several_are_in_one_file_in_every_form(tmp_path: Path) -> None:
    """YAML one after another, or a list; TOML and JSON a list.  All say the same."""
    listed = "\n".join(f"  {line}" for line in OTHER.splitlines())
    toml_other = OTHER.replace(": ", " = ").replace("guard", '"guard"')
    toml_other = toml_other.replace("rate-limit", '"rate-limit"').replace("xdp", '"xdp"')
    _written(
        tmp_path,
        {
            "two.toml": f"[[deployments]]\n{ONE}[[deployments]]\n"
            + toml_other.replace("[eth0]", '["eth0"]'),
            "two.yaml": f"---\n{OTHER}---\n{OTHER.replace('guard', 'tail')}---\n",
            "list.yaml": f"apiVersion: l3af/v1\ndeployments:\n- {listed.lstrip()}\n",
            "list.json": json.dumps(
                {"deployments": [{"name": "guard", "package": "rate-limit", "hook": "xdp"}]}
            ),
        },
    )

    edge, guard = read_deployments([tmp_path / "two.toml"])
    guard_again, tail = read_deployments([tmp_path / "two.yaml"])

    assert (edge.name, edge.expiry) == ("edge", "2027-03-01T00:00:00.000000Z")
    assert guard == guard_again
    assert tail.name == "tail"
    assert read_deployments([tmp_path / "list.yaml"]) == [guard]
    assert [one.name for one in read_deployments([tmp_path / "list.json"])] == ["guard"]


def test_a_problem_is_named_with_the_deployment_that_has_it(tmp_path: Path) -> None:
    """All of a file at once."""
    documents = [OTHER.replace("xdp", "nonesuch"), OTHER.replace("order", "colour")]
    file = _written(tmp_path, {"two.yaml": "---\n".join(documents)}) / "two.yaml"

    with pytest.raises(RefusedError) as refused:
        read_deployments([file])

    paths = {reason.path for reason in refused.value.reasons}
    assert any(path.startswith("deployments[0].hook") for path in paths)
    assert any(path.startswith("deployments[1]") for path in paths)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.yaml", "", "expected"),
        ("empty.json", '{"deployments": []}', "deployments"),
        ("other.toml", f"colour = 1\n[[deployments]]\n{ONE}", "colour"),
        ("torn.yaml", f"{OTHER}---\nname: [", "is not YAML"),
        ("zoneless.toml", f"[[deployments]]\n{ONE.replace('00Z', '00')}", "expiry"),
    ],
)
def test_what_is_no_list_of_deployments_is_refused(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    """By name, and never read in part."""
    file = _written(tmp_path, {name: text}) / name

    with pytest.raises(RefusedError) as refused:
        read_deployments([file])

    assert said in f"{refused.value.message} {refused.value.reasons}"


@pytest.mark.parametrize("text", [ONE, f"[[deployments]]\n{ONE}"], ids=["one", "list"])
def test_what_can_be_read_once_is_read_once(text: str) -> None:
    """A pipe, as a shell makes one for the output of a program."""
    reader, writer = os.pipe()
    try:
        os.write(writer, text.encode())
        os.close(writer)
        (spec,) = read_deployments([Path(f"/dev/fd/{reader}")])
    finally:
        os.close(reader)

    assert spec.name == "edge"


def test_a_directory_without_documents_is_refused(tmp_path: Path) -> None:
    """It says what would be read."""
    with pytest.raises(RefusedError, match=r"\.toml, \.yaml"):
        read_deployments([tmp_path])
