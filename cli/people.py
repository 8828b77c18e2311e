# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Names for keys, where the installation's registry is at hand; events themselves hold none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cli.session import installation_dir
from installation.layout import Layout
from installation.registry import Registry
from services.auditor.persons.tokens import is_token_text
from shared.contracts.events import Actor
from shared.errors import Reason, RefusedError

PUBLIC_KEY: Final = re.compile(r"U[A-Z2-7]{55}")
SHOWN_CHARACTERS: Final = 8

Names = Mapping[str, str]
"""Public key to name; keys that were revoked keep theirs."""


def read_names(installation: Path | None = None) -> Names:
    """The names in the registry; empty if there is none that this user may read."""
    layout = Layout(installation or installation_dir())
    try:
        registry = msgspec.json.decode(layout.registry.read_bytes(), type=Registry)
    except (OSError, msgspec.DecodeError):
        return {}
    return {member.key: member.name for member in registry.members}


def keys_of(person: str, names: Names) -> tuple[str, ...]:
    """The keys that a name had, or the key itself.

    Raises:
        RefusedError: It is no key, and no name that is known here.
    """
    if PUBLIC_KEY.fullmatch(person):
        return (person,)
    keys = tuple(key for key, name in names.items() if name == person)
    if not keys:
        reason = Reason(
            path="--actor",
            rule="is neither a public key nor a name in this installation's registry",
            got=person,
            allowed=sorted(set(names.values())) or "U and 55 letters and digits",
        )
        raise RefusedError(f"nobody is known as {person}", [reason])
    return keys


def render_actor(actor: Actor | None, names: Names) -> str:
    """Name or shortened key, and the role; what the server did not vouch for is marked."""
    if actor is None:
        return ""
    if is_token_text(actor.key):
        return f"erased ({actor.role})"
    shown = names.get(actor.key) or (
        f"{actor.key[:SHOWN_CHARACTERS]}…" if actor.key else "somebody"
    )
    return f"{shown} ({actor.role})" if actor.attested else f"{shown} ({actor.role}?)"
