# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments of several files, of a directory, or several in one file.

Rules:
 * Of a directory, what ends in .toml, .yaml, .yml or .json is read, by name; not what is below.
 * Several are in one file as the list `deployments`, in YAML also one document after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from cli.deployment_document import DeploymentDocument, parse_deployment, specification
from cli.written_document import (
    MAX_FILE_BYTES,
    ApiVersion,
    DocumentForm,
    form_of,
    plain_document,
    read_bytes,
)
from cli.yaml_documents import read_yaml_documents
from shared.contracts.base import Document
from shared.contracts.deployments import DeploymentSpec
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

SUFFIXES: Final = (".toml", ".yaml", ".yml", ".json")


class DeploymentsDocument(Document, frozen=True, kw_only=True):
    """Several deployments in one file."""

    api_version: ApiVersion = msgspec.field(default="l3af/v1", name="apiVersion")
    """Left out: l3af/v1."""
    deployments: Annotated[tuple[DeploymentDocument, ...], Meta(min_length=1)]


def read_deployments(paths: Sequence[Path]) -> list[DeploymentSpec]:
    """All deployments of these files and directories, in their order.

    Raises:
        RefusedError: With every problem of the first file that has any.
    """
    files = [file for path in paths for file in _files(path)]
    return [spec for file in files for spec in _deployments(file)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES)
    if not found:
        rule = "has no file that ends in " + ", ".join(SUFFIXES)
        raise RefusedError(f"{path}: {rule}", [Reason(path=str(path), rule=rule)])
    return found


def _deployments(file: Path) -> list[DeploymentSpec]:
    data, form, what = read_bytes(file), form_of(file), str(file)
    document = _several(data, form, what=what)
    if document is None:
        return [parse_deployment(data, form=form, what=what)]
    written = convert_document(document, DeploymentsDocument, what=what)
    return [specification(one) for one in written.deployments]


def _several(data: bytes, form: DocumentForm, *, what: str) -> dict[str, Any] | None:
    """What the bytes hold, if that is several deployments; None: it is one, or cannot be read.

    Raises:
        RefusedError: It is not of that form.
    """
    document = None if len(data) > MAX_FILE_BYTES else _plain(data, form, what=what)
    return document if isinstance(document, dict) and "deployments" in document else None


def _plain(data: bytes, form: DocumentForm, *, what: str) -> Any:
    if form != "YAML":
        return plain_document(data, form, what=what)
    try:
        documents = read_yaml_documents(data.decode(), what=what)
    except UnicodeDecodeError:
        return None
    return {"deployments": documents} if len(documents) > 1 else next(iter(documents), None)
