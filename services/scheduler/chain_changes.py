# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Two records of what a node shall run -> the chains that run something else.

Pure.
"""

from __future__ import annotations

import msgspec

from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.events import PUBLIC
from shared.identifiers import HookPoint, render_hook_point


def changed_chains(
    before: DesiredNode | None, after: DesiredNode | None
) -> dict[HookPoint, tuple[DesiredChain | None, DesiredChain | None]]:
    """The hook points that run something else, with the chain before and after."""
    olds, news = _by_point(before), _by_point(after)
    return {
        point: (olds.get(point), news.get(point))
        for point in sorted({*olds, *news})
        if what_runs(olds.get(point)) != what_runs(news.get(point))
    }


def takes_part(key: str, *chains: DesiredChain | None) -> bool:
    """Whether the deployment is in any of the chains."""
    for chain in chains:
        for program in chain.programs if chain is not None else ():
            if program.deployment == key:
                return True
    return False


def _by_point(node: DesiredNode | None) -> dict[HookPoint, DesiredChain]:
    return {
        render_hook_point(chain.interface, chain.hook, chain.netns): chain
        for chain in (node.chains if node else ())
    }


def what_runs(chain: DesiredChain | None) -> DesiredChain | None:
    """The chain, whoever may see it."""
    if chain is None or (chain.audience, chain.cause.audience) == (PUBLIC, PUBLIC):
        return chain
    cause = msgspec.structs.replace(chain.cause, audience=PUBLIC)
    return msgspec.structs.replace(chain, audience=PUBLIC, cause=cause)
