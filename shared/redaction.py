# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is shown of a hook point to somebody who does not see every program of its chain.

Pure.

Rules:
 * What is shown is named here; everything else is left out, what is added later too.
 * That something is there is shown: one slot for each program that is not seen, and its place.
 * Nothing is shown that the whole chain has a part in: digests, sizes, licences, maps, the words of
   a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from shared.contracts.drift import ObservedDrift
from shared.contracts.events import Audience
from shared.contracts.node import ObservedChain, ObservedProgram
from shared.deployment_keys import space_of
from shared.errors import Refusal
from shared.identifiers import Hook, is_network
from shared.probe_targets import deployment_of

WITHHELD: Final = (
    "a program of a restricted space is in this chain; why it does not run is told to its members"
)

Sees = Callable[[Audience], bool]


def redacted_chain(chain: ObservedChain, sees: Sees) -> ObservedChain:
    """What may be told of a hook point; the programs that are seen are told, the others counted."""
    return ObservedChain(
        interface=named_place(chain.hook, chain.interface, sees),
        netns=chain.netns,
        hook=chain.hook,
        state=chain.state,
        generation=chain.generation,
        desired_generation=chain.desired_generation,
        program_id=chain.program_id,
        link_id=chain.link_id,
        xdp_mode=chain.xdp_mode,
        attachment=chain.attachment,
        runs_after=chain.runs_after,
        runs_before=chain.runs_before,
        displaced=chain.displaced,
        programs=tuple(redacted_program(one, sees) for one in chain.programs),
        refusal=redacted_refusal(chain.refusal),
        companions=tuple(one for one in chain.companions if sees(space_of(one.deployment))),
        drift=tuple(ObservedDrift(kind=one.kind, done=one.done) for one in chain.drift),
        restricted=True,
    )


def named_place(hook: Hook, interface: str, sees: Sees) -> str:
    """The interface; of a probe it is its deployment's name: nothing, if that is not seen."""
    is_named = is_network(hook) or sees(space_of(deployment_of(interface)))
    return interface if is_named else ""


def redacted_program(program: ObservedProgram, sees: Sees) -> ObservedProgram:
    """The program; of one that is not seen, its place alone."""
    if sees(space_of(program.deployment)):
        return msgspec.structs.replace(program, reason="")
    return ObservedProgram(
        deployment="",
        revision=0,
        package="",
        version="",
        archive_sha256="",
        program="",
        order=program.order,
        restricted=True,
    )


def redacted_refusal(refusal: Refusal | None) -> Refusal | None:
    """That there is one, and of which kind."""
    return None if refusal is None else Refusal(code=refusal.code, message=WITHHELD)
