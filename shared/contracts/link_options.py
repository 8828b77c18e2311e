# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a chain is linked and put on its hook: what a deployment may wish, and what is settled.

A hook point has one linked program, so all deployments that meet there live with one choice.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import Document
from shared.contracts.drift import DriftPolicy

AttachChoice = Literal["auto", "native", "generic", "offload", "tcx", "cls_bpf"]
"""XDP: auto, native, generic, offload.  TC: auto, tcx, cls_bpf."""
FragsChoice = Literal["auto", "on", "off"]
EndVerdict = Literal["unspec", "ok"]
DEFAULT_POSITION: Final = "last"
PositionText = Annotated[
    str, Meta(pattern=r"^(first|last|(before|after):[A-Za-z0-9_.-]{1,32})(?!\n)$")
]
"""Among the programs of other owners on a TCX hook: `first`, `last`, `before:<id or name>`,
`after:<id or name>`."""
SamplePeriod = Annotated[int, Meta(ge=0, le=2**20)]
KeepSeconds = Annotated[int, Meta(ge=0, le=30 * 24 * 3600)]


class LinkOptions(Document, frozen=True, kw_only=True):
    """What is settled for one hook point."""

    attach: AttachChoice = "auto"
    """`auto`: XDP in the driver, else generic; TCX, else cls_bpf.  Any other is that or refused."""
    frags: FragsChoice = "auto"
    """Whether an XDP chain takes packets in several buffers; auto: if all of its programs do."""
    counters: bool = True
    """Whether packets and verdicts of each program are counted."""
    time_sample_period: SamplePeriod = 0
    """Every how manieth packet each program's time is taken; 0: never, else a power of two."""
    end_verdict: EndVerdict = "unspec"
    """What a TC chain returns that ran to its end; `unspec` lets later owners of the hook run."""
    position: PositionText = DEFAULT_POSITION
    """Where the chain stands among programs of other owners on a TCX hook."""
    take_over: bool = False
    """Whether an XDP program of another owner is replaced, and put back afterwards."""
    keep_seconds: KeepSeconds = 3600
    """How long the generation before is kept loaded, so that going back is one link update."""
    drift: DriftPolicy = "repair"
    """What happens when somebody else changes what is on the hook, pinned, or configured."""


class LinkWishes(Document, frozen=True, kw_only=True):
    """What one deployment asks of the hook points that it is part of; null: it does not mind."""

    attach: AttachChoice | None = None
    frags: FragsChoice | None = None
    counters: bool | None = None
    time_sample_period: SamplePeriod | None = None
    end_verdict: EndVerdict | None = None
    position: PositionText | None = None
    take_over: bool | None = None
    keep_seconds: KeepSeconds | None = None
    drift: DriftPolicy | None = None
