# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Documents as people write them down: TOML, YAML or JSON, with the version of their form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec

from cli.yaml_documents import read_yaml
from shared.errors import Reason, RefusedError
from shared.moments import render_time
from shared.validation import convert_document, decode_document

ApiVersion = Literal["l3af/v1"]
API_VERSIONS: Final = get_args(ApiVersion)
MAX_FILE_BYTES: Final = 256 * 1024

DocumentForm = Literal["TOML", "YAML", "JSON"]
_FORMS: Final[Mapping[str, DocumentForm]] = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}

DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)


def read_written(file: Path, kind: type[DocumentT], *, noun: str) -> DocumentT:
    """The document in a file: YAML and JSON by the end of its name, all else is TOML.

    Args:
        file: Where it is.
        kind: What it is.
        noun: What a refusal calls that, as `a deployment`.

    Raises:
        RefusedError: With every problem and its path.
    """
    return parse_written(read_bytes(file), kind, form=form_of(file), what=str(file), noun=noun)


def read_bytes(file: Path) -> bytes:
    """What a file holds.

    Raises:
        RefusedError: It cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise RefusedError(f"{file}: cannot be read: {error.strerror}") from error


def form_of(file: PurePath) -> DocumentForm:
    """What a file is written in, by the end of its name."""
    return _FORMS.get(file.suffix.lower(), "TOML")


def parse_written(
    data: bytes, kind: type[DocumentT], *, form: DocumentForm, what: str, noun: str
) -> DocumentT:
    """The document that the bytes are.

    Args:
        data: UTF-8.
        kind: What they are.
        form: What they are written in.
        what: How a refusal names them.
        noun: What a refusal calls a document of this kind.

    Raises:
        RefusedError: With every problem and its path.
    """
    if len(data) > MAX_FILE_BYTES:
        reason = Reason(path="", rule="is too large", got=len(data), allowed=MAX_FILE_BYTES)
        raise RefusedError(f"{what}: too large for {noun}", [reason], code="too_large")
    document = plain_document(data, form, what=what)
    _refuse_unknown_version(document, what)
    return convert_document(document, kind, what=what)


def plain_document(data: bytes, form: DocumentForm, *, what: str) -> Any:
    """What the bytes say, before anybody asks whether it may be said.

    Raises:
        RefusedError: They are not of that form.
    """
    if form == "JSON":
        return decode_document(data, dict[str, Any], what=what)
    try:
        text = data.decode()
        return _spelt(tomllib.loads(text)) if form == "TOML" else read_yaml(text, what=what)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = Reason(path="", rule=f"is not {form}: {error}")
        raise RefusedError(f"{what}: is not {form}", [reason]) from error


def _spelt(value: Any) -> Any:
    """Moments that TOML knows as such, in their text; what lacks a zone there is refused."""
    if isinstance(value, dict):
        return {key: _spelt(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_spelt(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat() if value.tzinfo is None else render_time(value)
    return value


def _refuse_unknown_version(document: Any, what: str) -> None:
    """Of a form that is not known, no field is judged."""
    version = document.get("apiVersion") if isinstance(document, dict) else None
    if version is None or version in API_VERSIONS:
        return
    rule = "is no version of the form that this release reads"
    reason = Reason(path="apiVersion", rule=rule, got=str(version), allowed=list(API_VERSIONS))
    raise RefusedError(f"{what}: apiVersion {rule}", [reason])
