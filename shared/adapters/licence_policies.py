# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Policy packs from where they lie: beside the engine, or in a file of the installation."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from shared.errors import Reason, RefusedError
from shared.licensing.policies import SHIPPED, LicencePolicy, parse_policy

_SUFFIX: Final = ".toml"


def load_policy(name: str) -> LicencePolicy:
    """The pack of that name, or the one in the file if `name` ends with `.toml`.

    Raises:
        RefusedError: There is none, or it is no pack.
    """
    if name in SHIPPED:
        shipped = resources.files("shared.licensing") / "policies" / f"{name}{_SUFFIX}"
        return parse_policy(shipped.read_text(encoding="utf-8"), path=name)
    if not name.endswith(_SUFFIX):
        reason = Reason(
            path="policy", rule="no such policy", got=name, allowed=[*SHIPPED, "FILE.toml"]
        )
        raise RefusedError(f"there is no licence policy {name}", [reason])
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = Reason(path=name, rule=f"cannot be read: {error}")
        raise RefusedError(f"{name}: {reason.rule}", [reason]) from error
    return parse_policy(text, path=name)
