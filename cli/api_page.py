# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every subject that people and systems may ask, as a page to read.

Pure; made of the contract, so that what is added there stands here by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.contracts.base import API
from shared.contracts.permissions import USER_ROLES

_HEAD: Final = """<!-- SPDX-FileCopyrightText: 2026 The L3AF Bus authors -->
<!-- SPDX-License-Identifier: Apache-2.0 -->

# Every subject

Made by `make schema` from the contract. Each is asked by a request with JSON
([how](bus-clients.md)); `{node}` stands for a node's name, fields in brackets may be left out. A
*command* changes something: it also takes `command_id` and `reason`, is durable once it is
accepted, and is recorded, also when it is refused. What is not for a role is refused by the server.
A [refusal](schemas/refusal.json) looks the same everywhere.
"""
_ALL: Final = "all"


def api_page(document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: From `contract_document`.
    """
    services: dict[str, list[str]] = {}
    for subject, endpoint in sorted(document["endpoints"].items()):
        if subject.startswith(f"{API}."):
            service = subject.removeprefix(f"{API}.").partition(".")[0]
            services.setdefault(service, []).append(_row(subject, endpoint, document))
    parts = [_HEAD, *(_section(name, rows) for name, rows in services.items())]
    return "\n".join(parts)


def _section(service: str, rows: list[str]) -> str:
    head = "| subject | what | roles | request, reply |\n|---|---|---|---|\n"
    return f"## {service}\n\n{head}" + "\n".join(rows) + "\n"


def _row(subject: str, endpoint: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    request = _definition(endpoint["request"], document)
    what = str(request.get("description", "")).partition("\n\n")[0].replace("\n", " ")
    kind = "*Command.* " if endpoint["is_command"] else ""
    place = subject.replace("{", "").replace("}", "")
    links = ", ".join(f"[{part}](schemas/{place}.{part}.json)" for part in ("request", "reply"))
    fields = ", ".join(_fields(request))
    asked = f" Takes {fields}." if fields else ""
    return f"| `{subject}` | {kind}{what}{asked} | {_roles(endpoint['roles'])} | {links} |"


def _fields(request: Mapping[str, Any]) -> Iterator[str]:
    """Those that must be given first; what all commands take is left out."""
    required = request.get("required", ())
    names = [name for name in request.get("properties", {}) if name not in _OF_COMMANDS]
    for name in sorted(names, key=lambda one: one not in required):
        yield f"`{name}`" if name in required else f"[`{name}`]"


def _roles(roles: list[str]) -> str:
    return _ALL if set(roles) == set(USER_ROLES) else ", ".join(roles)


def _definition(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["$defs"][schema["$ref"].rpartition("/")[2]]
    return found


_OF_COMMANDS: Final = ("command_id", "reason")
