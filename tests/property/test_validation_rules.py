# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of reading documents that hold for every input."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import contracts
from shared.contract_schema import contract_document
from shared.contracts.base import Endpoint, Request
from shared.contracts.deployments import DeploymentSpec
from shared.errors import RefusedError
from shared.validation import decode_document

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=12,
)
ENDPOINTS: list[Endpoint[Any, Any]] = [
    value
    for found in pkgutil.iter_modules(contracts.__path__)
    for value in vars(importlib.import_module(f"{contracts.__name__}.{found.name}")).values()
    if isinstance(value, Endpoint)
]
REQUESTS = sorted({endpoint.request for endpoint in ENDPOINTS}, key=lambda kind: kind.__name__)


def check_verdict(data: bytes, kind: type[Request]) -> None:
    """A value, or a refusal that has reasons and can be sent."""
    refusal = None
    try:
        value = decode_document(data, kind, what="request")
    except RefusedError as error:
        refusal = error.refusal()
    else:
        assert isinstance(value, kind)
    if refusal is not None:
        assert refusal.reasons
        assert msgspec.json.encode(refusal)


@given(data=st.binary(max_size=200), kind=st.sampled_from(REQUESTS))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes, kind: type[Request]) -> None:
    """Whatever arrives on a subject, a service answers it and lives."""
    check_verdict(data, kind)


@given(document=JSON, kind=st.sampled_from(REQUESTS))
def test_no_json_raises_anything_but_a_refusal(document: Any, kind: type[Request]) -> None:
    """Nor does well-formed JSON of any shape."""
    check_verdict(msgspec.json.encode(document), kind)


@given(data=st.data(), kind=st.sampled_from(REQUESTS))
def test_refused_exactly_if_msgspec_refuses(data: st.DataObject, kind: type[Request]) -> None:
    """Apart from repeated names and depth, the verdict is msgspec's; only the words are ours."""
    names = st.sampled_from([field.encode_name for field in msgspec.structs.fields(kind)] + ["x"])
    document = data.draw(st.dictionaries(names, JSON | st.just("n1"), max_size=6))
    encoded = msgspec.json.encode(document)
    try:
        expected = msgspec.json.decode(encoded, type=kind)
    except msgspec.ValidationError:
        with pytest.raises(RefusedError):
            decode_document(encoded, kind, what="request")
    else:
        assert decode_document(encoded, kind, what="request") == expected


@given(
    wrong=st.sets(st.sampled_from(["name", "package", "hook", "order", "program"]), min_size=1),
    unknown=st.sets(st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), max_size=3),
)
def test_every_wrong_field_is_named_and_no_right_one(wrong: set[str], unknown: set[str]) -> None:
    """The refusal is the exact list of what to correct."""
    good: dict[str, Any] = {
        "name": "edge",
        "package": "limit",
        "hook": "xdp",
        "interfaces": ["eth0"],
        "order": 1,
        "program": "",
    }
    document = good | {name: [[]] for name in wrong} | dict.fromkeys(unknown, 1)

    with pytest.raises(RefusedError) as refused:
        decode_document(msgspec.json.encode(document), DeploymentSpec, what="file")

    assert {reason.path for reason in refused.value.reasons} == wrong | unknown


def test_contract_document_covers_every_request() -> None:
    """No endpoint is missing from what the laws above are tried on."""
    assert set(contract_document()["endpoints"]) == {endpoint.subject for endpoint in ENDPOINTS}
