# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A deployment can be written in TOML, YAML or JSON, and has one reading in each."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from cli.deployment_document import parse_deployment, read_deployment
from cli.schema import SCHEMAS_DIR
from cli.yaml_documents import read_yaml
from shared.errors import RefusedError
from tests.fleets import rules

TOML = """\
apiVersion = "l3af/v1"
name = "edge"
package = "rate-limit"
hook = "xdp"
interfaces = ["eth*"]
owner = "net-team"
reason = "the January flood"
expiry = 2027-03-01T00:00:00Z
on_expiry = "alarm"
[nodes]
labels = { role = "edge", version = "1.10" }
[config.limits]
80 = 100
"""
YAML = """\
apiVersion: l3af/v1
name: edge
package: rate-limit
hook: xdp
interfaces: [eth*]   # a bracket makes it no alias
owner: net-team
reason: >-
  the January
  flood
expiry: 2027-03-01T00:00:00.000000Z
on_expiry: alarm
nodes:
  labels: {role: edge, version: "1.10"}
config:
  limits:
    80: 100
"""


def _toml(text: str) -> object:
    return parse_deployment(text.encode(), form="TOML", what="edge.toml")


def _yaml(text: str) -> object:
    return parse_deployment(text.encode(), form="YAML", what="edge.yaml")


def test_three_forms_say_the_same(tmp_path: Path) -> None:
    """The end of a file's name says which form it is."""
    written = {"edge.toml": TOML, "edge.yml": YAML, "edge.yaml": YAML}
    written["edge.json"] = json.dumps(read_yaml(YAML, what="edge"))
    for name, text in written.items():
        (tmp_path / name).write_text(text)

    first, *others = (read_deployment(tmp_path / name) for name in written)

    assert first.expiry == "2027-03-01T00:00:00.000000Z"
    assert (first.owner, first.reason, first.on_expiry) == (
        "net-team",
        "the January flood",
        "alarm",
    )
    assert others == [first] * 3


def test_the_published_schema_takes_what_is_read() -> None:
    """And refuses an unknown field, an unknown version and what lacks a field."""
    schema = json.loads((SCHEMAS_DIR / "deployment.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    document = read_yaml(YAML, what="edge")

    assert list(validator.iter_errors(document)) == []
    for wrong in (
        {**document, "colour": "blue"},
        {**document, "apiVersion": "l3af/v2"},
        {key: value for key, value in document.items() if key != "hook"},
    ):
        assert list(validator.iter_errors(wrong))


def test_a_version_left_out_is_the_first() -> None:
    """Files of earlier releases go on to be read."""
    assert _toml(TOML.replace('apiVersion = "l3af/v1"\n', "")) == _toml(TOML)


def test_of_an_unknown_version_no_field_is_judged() -> None:
    """What the fields of a later form mean is not known here."""
    with pytest.raises(RefusedError) as caught:
        _toml(TOML.replace("l3af/v1", "l3af/v2") + 'colour = "blue"\n')

    (reason,) = caught.value.reasons
    assert (reason.path, reason.got, reason.allowed) == ("apiVersion", "l3af/v2", ["l3af/v1"])


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("name: a\nname: b\n", 2, "names name twice"),
        ("a: {80: 1, '80': 2}\n", 1, "names 80 twice"),
        ("name: !!str edge\n", 1, "has the tag"),
        ("name: !ruby/object:X {}\n", 1, "has the tag"),
        ("a: &one [1]\nb: *one\n", 1, "has an anchor"),
        ("a: *one\n", 1, "has an alias"),
        ("a:\n  <<: {b: 1}\n", 2, "has a merge key"),
        ("a: 1\n---\nb: 2\n", 2, "has a second document"),
        ("[a]: 1\n", 1, "has a key that is neither text nor an integer"),
        ('a: "\\ud800"\n', 1, "has half of a character"),
        ("a: [1, 2\n", 2, "is not YAML"),
        ("a: \x07\n", 0, "is not YAML"),
        ("? {a: 1}\n: 2\n", 1, "has a key that is neither text nor an integer"),
        ("[" * 60, 1, "is nested too deeply"),
    ],
)
def test_yaml_that_could_be_read_in_two_ways_is_refused(text: str, line: int, rule: str) -> None:
    """With the line where it stands."""
    with pytest.raises(RefusedError) as caught:
        read_yaml(text, what="edge.yaml")

    (reason,) = caught.value.reasons
    assert rule in reason.rule
    assert reason.path == (f"line {line}" if line else "")


def test_words_of_yaml_mean_what_they_do_in_json() -> None:
    """And what only YAML 1.1 takes for a boolean, a moment or a number of base 60 is a text."""
    text = "[yes, on, No, true, ~, 2027-03-01, 1:30, 010, 0x10, 0o10, 1.5, 1e3, .inf, '1', 1_000]"

    words = read_yaml(text, what="words")

    assert words[:7] == ["yes", "on", "No", True, None, "2027-03-01", "1:30"]
    assert words[7:] == [10, 16, 8, 1.5, 1000.0, ".inf", "1", "1_000"]


@pytest.mark.parametrize("expiry", ["2027-03-01", "2027-03-01T00:00:00", '"tomorrow"', "1"])
def test_a_moment_without_a_zone_is_refused(expiry: str) -> None:
    """Whose midnight it is, nobody could tell."""
    with pytest.raises(RefusedError) as caught:
        _toml(TOML.replace("2027-03-01T00:00:00Z", expiry))

    assert set(rules(caught.value.reasons)) == {"expiry"}


def test_every_problem_of_a_yaml_file_is_named_with_its_path() -> None:
    """As of a TOML file."""
    with pytest.raises(RefusedError) as caught:
        _yaml(YAML.replace("hook: xdp", "hook: xpd\ncolour: blue"))

    assert set(rules(caught.value.reasons)) == {"hook", "colour"}
