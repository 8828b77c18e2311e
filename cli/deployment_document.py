# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A deployment as people write it down."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cli.written_document import ApiVersion, DocumentForm, parse_written, read_written
from shared.contracts.deployments import DeploymentSpec

NOUN = "a deployment"


class DeploymentDocument(DeploymentSpec, frozen=True, kw_only=True):
    """One deployment and the version of the form that it is written in."""

    api_version: ApiVersion = msgspec.field(default="l3af/v1", name="apiVersion")
    """Left out: l3af/v1."""


def read_deployment(file: Path) -> DeploymentSpec:
    """The specification in a file: YAML and JSON by the end of its name, all else is TOML.

    Raises:
        RefusedError: With every problem and its path.
    """
    return specification(read_written(file, DeploymentDocument, noun=NOUN))


def parse_deployment(data: bytes, *, form: DocumentForm, what: str) -> DeploymentSpec:
    """The specification that the bytes are.

    Args:
        data: UTF-8.
        form: What they are written in.
        what: How a refusal names them.

    Raises:
        RefusedError: With every problem and its path.
    """
    return specification(parse_written(data, DeploymentDocument, form=form, what=what, noun=NOUN))


def specification(written: DeploymentDocument) -> DeploymentSpec:
    """What a document says, without the version of its form."""
    names = DeploymentSpec.__struct_fields__
    return DeploymentSpec(**{name: getattr(written, name) for name in names})
