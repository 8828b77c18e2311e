# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A change of the contract is seen in review: the schema files are what the code says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cli.schema import SCHEMAS_DIR, SNAPSHOT, schema_files
from shared.contract_schema import contract_document
from shared.contracts.base import API, GATES, INTERNAL


def test_schema_files_are_those_of_the_code() -> None:
    """Snapshot and exported schemas are current; `make schema` writes them."""
    files = schema_files()

    stale = [
        path.name
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    unknown = set(SCHEMAS_DIR.glob("*.json")) - set(files)

    assert not stale, f"run `make schema`: {stale}"
    assert not unknown, f"run `make schema`: {unknown}"
    assert SNAPSHOT in files


def test_every_endpoint_is_either_for_roles_or_internal() -> None:
    """What people may ask is in the permission table, and nothing internal is."""
    for subject, endpoint in contract_document()["endpoints"].items():
        if subject.startswith(f"{API}."):
            assert endpoint["roles"], f"nobody may ask {subject}"
        else:
            assert subject.startswith((f"{INTERNAL}.", f"{GATES}."))
            assert not endpoint["roles"], f"{subject} is not for people"


def test_nobody_gains_a_subject_twice() -> None:
    """No two endpoints listen to one subject."""
    subjects = list(contract_document()["endpoints"])

    assert len(subjects) == len(set(subjects))


@pytest.mark.parametrize("part", ["request", "reply"])
def test_requests_are_closed_and_replies_are_open(part: str) -> None:
    """Unknown fields are refused in what is asked and tolerated in what is answered."""
    document = contract_document()
    for subject, endpoint in document["endpoints"].items():
        schema = _resolved(endpoint[part], document)
        assert (schema.get("additionalProperties") is False) == (part == "request"), subject


def test_replies_and_records_grow_without_breaking() -> None:
    """An older release's reply decodes: what is required now was required in the snapshot."""
    before = msgspec.json.decode(SNAPSHOT.read_bytes())
    now = contract_document()

    for name, definition in before["$defs"].items():
        if name in now["$defs"]:
            added = set(now["$defs"][name].get("required", ())) - set(
                definition.get("required", ())
            )
            assert not added, f"{name} now requires {added}"


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    name = schema["$ref"].rpartition("/")[2]
    found: dict[str, Any] = document["$defs"][name]
    return found
