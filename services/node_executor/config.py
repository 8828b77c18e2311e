# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the environment may say to a node executor, and what is refused there.

Pure: `shared.config.load_config` fills it from variables that begin with `NODE_EXECUTOR_`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from shared.contracts.node import Labels
from shared.errors import Reason, RefusedError


class NodeExecutorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node executor.  The node's name is the name in its credentials."""

    credentials_dir: Annotated[str, msgspec.Meta(min_length=1)]
    state_dir: Annotated[str, msgspec.Meta(min_length=1)]
    """Event journal, chain generations and artifact cache."""
    bpffs_dir: Annotated[str, msgspec.Meta(pattern="^/")] = "/sys/fs/bpf/l3af"
    """On a BPF file system; pins lie in a folder of the node's name."""
    labels: str = ""
    """`key=value,key=value`; labels set through the scheduler win."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def credentials_path(self) -> Path:
        """Where `user.creds` and `installation.json` lie."""
        return Path(self.credentials_dir)

    @property
    def state_path(self) -> Path:
        """Where this executor alone writes."""
        return Path(self.state_dir)


def parse_labels(text: str) -> dict[str, str]:
    """Labels of `key=value,key=value`; empty text: none.

    Raises:
        RefusedError: With every part that is no label.
    """
    labels: dict[str, str] = {}
    reasons: list[Reason] = []
    for index, part in enumerate(filter(None, text.split(","))):
        key, separator, value = part.strip().partition("=")
        try:
            if not separator or key in labels:
                raise msgspec.ValidationError("must be key=value, each key once")
            labels.update(msgspec.convert({key: value}, Labels))
        except msgspec.ValidationError as error:
            reasons.append(Reason(path=f"labels[{index}]", rule=str(error), got=part))
    if reasons:
        raise RefusedError("NODE_EXECUTOR_LABELS cannot be read", reasons)
    return labels
