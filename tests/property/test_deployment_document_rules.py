# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of documents: one form reads as the other, and nothing breaks a reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cli.deployment_document import parse_deployment
from cli.yaml_documents import read_yaml
from shared.errors import RefusedError

texts = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"), exclude_characters="\ufeff"
    ),
    max_size=12,
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=12,
)


@given(values)
def test_json_is_yaml(value: Any) -> None:
    """Whatever JSON says, YAML's reader takes it for the same."""
    assert read_yaml(json.dumps(value), what="document") == value


@given(values)
def test_what_another_writer_makes_reads_back(value: Any) -> None:
    """Quoted or not, in flow or in block style; words of YAML 1.1 stay the texts they were."""
    written = yaml.safe_dump(value, allow_unicode=True, default_flow_style=None)
    if "!!" in written or "&" in written:  # what the writer cannot say without
        return
    assert read_yaml(written, what="document") == value


@pytest.mark.parametrize("form", ["TOML", "YAML", "JSON"])
@given(data=st.binary(max_size=60))
@example(data=b"{" * 500)
@example(data=b"[" * 500)
@example(data=b"- " * 500)
@example(data=b"a: &a [*a]")
@example(data=b"1e999999: 1")
@example(data=b"x: " + b"9" * 5000)
def test_bytes_are_a_deployment_or_a_refusal(form: Any, data: bytes) -> None:
    """No input raises anything else."""
    with pytest.raises(RefusedError):
        parse_deployment(data, form=form, what="document")
