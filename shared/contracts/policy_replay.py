# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What another licence policy would have said of what was published, released and deployed."""

from __future__ import annotations

from typing import Final, Literal

from shared.contracts.base import Bucket, Message
from shared.contracts.licences import LicenceOutcome

REPLAY: Final = "policy.replay"

ReplayChange = Literal[
    "would-refuse", "would-review", "would-accept", "would-pass", "same", "unjudged"
]
REPLAY_CHANGES: Final[tuple[ReplayChange, ...]] = (
    "would-refuse",
    "would-review",
    "would-accept",
    "would-pass",
    "same",
    "unjudged",
)
"""`would-refuse`: it was accepted.  `would-review`: somebody would have had to look.
`would-accept`: it was refused for its licences alone.  `would-pass`: somebody had to look.
`unjudged`: too little is known."""


POLICY_KEY: Final = "policy"


class PolicyInForce(Message, frozen=True, kw_only=True):
    """KV `licence_policy`, key `policy`: the pack that the catalog judges by."""

    name: str
    version: str
    sha256: str
    """Of the pack's content, however its file is laid out."""
    changes: int = 0
    """How often it became another one."""
    at: str
    """Since when."""
    written_by: str = ""
    """The step that wrote it."""


LICENCE_POLICY: Final = Bucket("licence_policy", PolicyInForce)


class ReplayedEvent(Message, frozen=True, kw_only=True):
    """One publication, promotion or deployment."""

    record: int
    at: str
    action: str
    package: str
    version: str
    space: str
    deployment: str = ""
    channel: str = ""
    """That a promotion was for."""
    was_refused: bool = False
    was: LicenceOutcome | Literal[""] = ""
    """The verdict of then, with the waivers of then; empty: none was recorded."""
    would: LicenceOutcome | Literal[""] = ""
    """The verdict of this policy, with the waivers of then; empty: unjudged."""
    change: ReplayChange
    rules: tuple[str, ...] = ()
    """That would be for review or refused."""
    waivers: tuple[str, ...] = ()
    """In force then, and needed under this policy."""
    why: str = ""
    """`unjudged`: what is missing."""


class PolicyReplay(Message, frozen=True, kw_only=True):
    """All of a range."""

    policy: str
    policy_version: str
    policy_sha256: str
    since: str = ""
    until: str
    tree_size: int
    events: tuple[ReplayedEvent, ...]
    """By time."""
    counts: dict[ReplayChange, int]
    """How many of each; 0 too."""
