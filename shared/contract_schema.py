# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The contract as JSON Schema, for clients in other languages and for review.

One document, keyed by subject: whatever is added to a contract module appears by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from shared import contracts
from shared.canonical import canonical_bytes
from shared.contracts.base import EVENTS, Endpoint, Topic
from shared.contracts.errors import ERROR_NUMBERS
from shared.contracts.events import Event
from shared.contracts.permissions import ALLOWED_ENDPOINTS
from shared.contracts.storage import BUCKETS, STREAMS, kv_subject
from shared.errors import Refusal

CONTRACT_VERSION: Final = "v1"
EVENT_SUBJECT: Final = f"{EVENTS}.{{audience}}.{{emitter}}.{{entity}}.{{verb}}"

_REFERENCE: Final = "#/$defs/{name}"


def contract_document() -> dict[str, Any]:
    """Every subject with its messages, every bucket with its record, every error number."""
    endpoints, topics = list(_endpoints()), list(_topics())
    kinds: set[type[Any]] = {Event, Refusal}
    kinds |= {kind for endpoint in endpoints for kind in (endpoint.request, endpoint.reply)}
    kinds |= {topic.message for topic in topics} | {bucket.record for bucket in BUCKETS}
    ordered = sorted(kinds, key=lambda kind: (kind.__module__, kind.__name__))
    schemas, definitions = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    schema_of = dict(zip(ordered, schemas, strict=True))
    return {
        "$defs": definitions,
        "contract": CONTRACT_VERSION,
        "endpoints": {
            endpoint.subject: {
                "request": schema_of[endpoint.request],
                "reply": schema_of[endpoint.reply],
                "is_command": endpoint.is_command,
                "roles": _roles(endpoint),
            }
            for endpoint in endpoints
        },
        "topics": {topic.subject: schema_of[topic.message] for topic in topics},
        "events": {EVENT_SUBJECT: schema_of[Event]},
        "records": {
            kv_subject(bucket.name, "{key}"): {
                "record": schema_of[bucket.record],
                "history": bucket.history,
                "max_value_bytes": bucket.max_value_bytes,
                "message_ttl": bucket.message_ttl,
            }
            for bucket in BUCKETS
        },
        "streams": {stream.name: msgspec.to_builtins(stream) for stream in STREAMS},
        "refusal": schema_of[Refusal],
        "errors": dict(ERROR_NUMBERS),
    }


def message_schemas() -> dict[str, dict[str, Any]]:
    """Subject and part to a JSON Schema that stands alone."""
    found: dict[str, dict[str, Any]] = {
        f"{EVENT_SUBJECT}.event": msgspec.json.schema(Event),
        "refusal": msgspec.json.schema(Refusal),
    }
    for endpoint in _endpoints():
        found[f"{endpoint.subject}.request"] = msgspec.json.schema(endpoint.request)
        found[f"{endpoint.subject}.reply"] = msgspec.json.schema(endpoint.reply)
    for topic in _topics():
        found[f"{topic.subject}.message"] = msgspec.json.schema(topic.message)
    for bucket in BUCKETS:
        subject = kv_subject(bucket.name, "{key}")
        found[f"{subject}.record"] = msgspec.json.schema(bucket.record)
    return found


def render_schema(schema: Any) -> str:
    """As it is kept in a file: sorted, indented, ending in a newline."""
    return msgspec.json.format(canonical_bytes(schema), indent=1).decode() + "\n"


def _endpoints() -> Iterator[Endpoint[Any, Any]]:
    yield from sorted(_all_of(Endpoint), key=lambda endpoint: endpoint.subject)


def _topics() -> Iterator[Topic[Any]]:
    yield from sorted(_all_of(Topic), key=lambda topic: topic.subject)


def _all_of(kind: type[Any]) -> list[Any]:
    """Whatever modules of the contract define of that kind, once each, by module and place."""
    names = sorted(found.name for found in pkgutil.iter_modules(contracts.__path__))
    modules = [importlib.import_module(f"{contracts.__name__}.{name}") for name in names]
    values = [value for module in modules for value in vars(module).values()]
    return list({id(value): value for value in values if isinstance(value, kind)}.values())


def _roles(endpoint: Endpoint[Any, Any]) -> list[str]:
    """Who may ask it; none for the inside of the control account."""
    return sorted(role for role, allowed in ALLOWED_ENDPOINTS.items() if endpoint in allowed)
