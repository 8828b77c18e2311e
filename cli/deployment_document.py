# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A deployment as people write it down: TOML, YAML or JSON, with the version of its form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Final, Literal, get_args

import msgspec

from cli.yaml_documents import read_yaml
from shared.contracts.deployments import DeploymentSpec
from shared.errors import Reason, RefusedError
from shared.moments import render_time
from shared.validation import convert_document, decode_document

ApiVersion = Literal["l3af/v1"]
API_VERSIONS: Final = get_args(ApiVersion)
MAX_FILE_BYTES: Final = 256 * 1024

DocumentForm = Literal["TOML", "YAML", "JSON"]
_FORMS: Final[Mapping[str, DocumentForm]] = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}


class DeploymentDocument(DeploymentSpec, frozen=True, kw_only=True):
    """One deployment and the version of the form that it is written in."""

    api_version: ApiVersion = msgspec.field(default="l3af/v1", name="apiVersion")
    """Left out: l3af/v1."""


def read_deployment(file: Path) -> DeploymentSpec:
    """The specification in a file: YAML and JSON by the end of its name, all else is TOML.

    Raises:
        RefusedError: With every problem and its path.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RefusedError(f"{file}: cannot be read: {error.strerror}") from error
    return parse_deployment(data, form=form_of(file), what=str(file))


def form_of(file: PurePath) -> DocumentForm:
    """What a file is written in, by the end of its name."""
    return _FORMS.get(file.suffix.lower(), "TOML")


def parse_deployment(data: bytes, *, form: DocumentForm, what: str) -> DeploymentSpec:
    """The specification that the bytes are.

    Args:
        data: UTF-8.
        form: What they are written in.
        what: How a refusal names them.

    Raises:
        RefusedError: With every problem and its path.
    """
    if len(data) > MAX_FILE_BYTES:
        reason = Reason(path="", rule="is too large", got=len(data), allowed=MAX_FILE_BYTES)
        raise RefusedError(f"{what}: too large for a deployment", [reason], code="too_large")
    document = _plain(data, form, what)
    _refuse_unknown_version(document, what)
    if isinstance(document, dict) and isinstance(document.get("expiry"), datetime):
        document = {**document, "expiry": _moment(document["expiry"])}
    written = convert_document(document, DeploymentDocument, what=what)
    names = DeploymentSpec.__struct_fields__
    return DeploymentSpec(**{name: getattr(written, name) for name in names})


def _plain(data: bytes, form: DocumentForm, what: str) -> Any:
    if form == "JSON":
        return decode_document(data, dict[str, Any], what=what)
    try:
        text = data.decode()
        return tomllib.loads(text) if form == "TOML" else read_yaml(text, what=what)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = Reason(path="", rule=f"is not {form}: {error}")
        raise RefusedError(f"{what}: is not {form}", [reason]) from error


def _refuse_unknown_version(document: Any, what: str) -> None:
    """Of a form that is not known, no field is judged."""
    version = document.get("apiVersion") if isinstance(document, dict) else None
    if version is None or version in API_VERSIONS:
        return
    rule = "is no version of the form that this release reads"
    reason = Reason(path="apiVersion", rule=rule, got=str(version), allowed=list(API_VERSIONS))
    raise RefusedError(f"{what}: apiVersion {rule}", [reason])


def _moment(value: datetime) -> str:
    """A moment that TOML knows as one; without a zone it stays as it is, and is refused."""
    return value.isoformat() if value.tzinfo is None else render_time(value)
