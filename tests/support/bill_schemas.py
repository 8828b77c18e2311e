# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The published JSON Schemas of CycloneDX 1.6 and SPDX 2.3, as lib4sbom carries them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft7Validator
from referencing import Registry, Resource

_SCHEMAS: Final = files("lib4sbom") / "schemas"
_BESIDE: Final = ("spdx.schema.json", "jsf-0.82.schema.json")
"""What CycloneDX's schema refers to by name."""


def cyclonedx_problems(document: str) -> list[str]:
    """All that the schema of CycloneDX 1.6 has against the document."""
    return _problems(_cyclonedx(), document)


def spdx_problems(document: str) -> list[str]:
    """All that the schema of SPDX 2.3 has against the document."""
    return _problems(_spdx(), document)


def _problems(validator: Draft7Validator, document: str) -> list[str]:
    return [
        f"{error.json_path}: {error.message}"
        for error in validator.iter_errors(json.loads(document))
    ]


@cache
def _cyclonedx() -> Draft7Validator:
    schema = _schema("cyclonedx", "bom-1.6.schema.json")
    beside = {name: Resource.from_contents(_schema("cyclonedx", name)) for name in _BESIDE}
    base = schema["$id"].rpartition("/")[0]
    registry: Registry[Any] = Registry().with_resources(
        (f"{base}/{name}", resource) for name, resource in beside.items()
    )
    return Draft7Validator(schema, registry=registry, format_checker=Draft7Validator.FORMAT_CHECKER)


@cache
def _spdx() -> Draft7Validator:
    return Draft7Validator(
        _schema("spdx", "2.3-schema.json"), format_checker=Draft7Validator.FORMAT_CHECKER
    )


def _schema(folder: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_SCHEMAS / folder / name).read_text())
    return found
