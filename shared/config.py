# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Environment variables into a frozen Struct, or every bad variable by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from shared.errors import Reason, RefusedError

T = TypeVar("T", bound=msgspec.Struct)

LogLevel = Literal["debug", "info", "warning", "error"]
Labels = dict[str, str]
"""Written `key=value,key=value`."""


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every service is told."""

    credentials_dir: Path
    """Holds `user.creds`, `installation.json` and, with TLS, `ca.pem`."""
    state_dir: Path
    """Kept between starts; created if it does not exist."""
    log_level: LogLevel = "info"


def load_config(kind: type[T], environ: Mapping[str, str], *, prefix: str) -> T:
    """The configuration that the variables starting with `prefix` describe.

    A field is set by the variable of its name in capitals after the prefix.  Strings become
    numbers, truth values, paths and labels as the field's type says.

    Raises:
        RefusedError: Naming every variable that is missing, unknown or malformed.
    """
    values: dict[str, Any] = {}
    reasons: list[Reason] = []
    fields = {f"{prefix}{field.name.upper()}": field for field in msgspec.structs.fields(kind)}
    for variable, field in fields.items():
        if variable in environ:
            try:
                values[field.name] = _parse(environ[variable], field.type)
            except (msgspec.ValidationError, ValueError) as error:
                rule = str(error).partition(" - at `")[0]
                reasons.append(Reason(path=variable, rule=rule, got=environ[variable]))
        elif field.required:
            reasons.append(Reason(path=variable, rule="is not set"))
    reasons += _unknown(environ, set(fields), prefix)
    if reasons:
        names = ", ".join(reason.path for reason in reasons)
        raise RefusedError(f"configuration: {names}", reasons)
    return kind(**values)


def _unknown(environ: Mapping[str, str], known: set[str], prefix: str) -> Iterator[Reason]:
    for variable in sorted(environ):
        if variable.startswith(prefix) and variable not in known:
            yield Reason(path=variable, rule="is not a known variable", allowed=sorted(known))


def _parse(text: str, annotation: Any) -> Any:
    if annotation is Path:
        if not text:
            raise ValueError("must not be empty")
        return Path(text)
    if annotation == Labels:
        return dict(_label(item) for item in text.split(",") if item)
    return msgspec.convert(text, Annotated[annotation, msgspec.Meta()], strict=False)


def _label(item: str) -> tuple[str, str]:
    key, separator, value = item.partition("=")
    if not separator or not key:
        raise ValueError(f"`{item}` is not key=value")
    return key.strip(), value.strip()
