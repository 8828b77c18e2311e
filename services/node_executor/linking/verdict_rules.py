# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""After which verdicts a chain goes on, and what it returns when it ends.

The verdict of a chain is that of the last body that ran.  cls_bpf and XDP take it as it is.  TCX
knows pass, drop, redirect and next only (include/net/tcx.h, tcx_action_code), so there:

 * stolen, queued and trap would let the packet pass: they become shot;
 * repeat and reclassify mean nothing there: they become ok, which is what TCX makes of them;
 * ok, pipe and unspec of the last body, when its proceed_on names them, become the policy's
   end verdict: unspec lets other owners' programs run, ok hides them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from services.node_executor.linking.body import Body
from services.node_executor.linking.plan import Constraint, LinkPolicy
from shared.contracts.node import TC_VERDICTS, XDP_VERDICTS, terminal_verdicts, verdicts_of
from shared.errors import Reason
from shared.identifiers import Hook

_OPEN: Final = ("ok", "pipe", "unspec")
_TCX_LEAVING: Final[Mapping[int, int]] = {
    TC_VERDICTS["stolen"]: TC_VERDICTS["shot"],
    TC_VERDICTS["queued"]: TC_VERDICTS["shot"],
    TC_VERDICTS["trap"]: TC_VERDICTS["shot"],
    TC_VERDICTS["repeat"]: TC_VERDICTS["ok"],
    TC_VERDICTS["reclassify"]: TC_VERDICTS["ok"],
}


def proceed_problems(
    body: Body, path: str, *, hook: Hook, is_last: bool
) -> Iterator[tuple[str, Reason]]:
    """Whether the verdicts after which the chain goes on are verdicts, and any at all."""
    known = verdicts_of(hook)
    unknown = [name for name in body.proceed_on if name not in known]
    if unknown:
        yield (
            "proceed-unknown",
            Reason(
                path=f"{path}.proceed_on",
                rule=f"must be verdicts of {hook}",
                got=unknown,
                allowed=list(known),
            ),
        )
    if not body.proceed_on and not is_last:
        yield (
            "proceed-empty",
            Reason(
                path=f"{path}.proceed_on",
                rule="must name a verdict, or no program behind this one could ever run",
                got=[],
                allowed=list(known),
            ),
        )


def proceed_warnings(body: Body, path: str, *, hook: Hook) -> Iterator[Constraint]:
    """Verdicts that end a packet's way, which the next body would override."""
    terminal = terminal_verdicts(hook)
    for verdict in body.proceed_on:
        if verdict in terminal:
            yield Constraint(
                "proceed-terminal",
                path,
                f"the chain goes on after '{verdict}', so a later program's verdict replaces it"
                f" and the packet is not treated as '{verdict}'",
                "warning",
            )


def proceed_values(body: Body, hook: Hook) -> tuple[int, ...]:
    """The verdicts after which the chain goes on, signed 32 bit, each once."""
    verdicts = verdicts_of(hook)
    return tuple(dict.fromkeys(verdicts[name] for name in body.proceed_on if name in verdicts))


def leaving_verdicts(policy: LinkPolicy) -> Mapping[int, int]:
    """What is returned in place of a verdict that ends the chain; others are as they are."""
    return _TCX_LEAVING if policy.way == "tcx" else {}


def end_verdicts(policy: LinkPolicy, proceed: tuple[int, ...]) -> tuple[int, ...]:
    """The last body's verdicts that `end_value` replaces: those that would have gone on."""
    if policy.way != "tcx":
        return ()
    opened = {TC_VERDICTS[name] for name in _OPEN}
    return tuple(value for value in proceed if value in opened)


def end_value(policy: LinkPolicy) -> int:
    """What a TCX chain returns that ran to its end."""
    return TC_VERDICTS[policy.end_verdict]


def closed_verdict(hook: Hook) -> int:
    """What a packet gets that cannot have the whole chain."""
    return XDP_VERDICTS["aborted"] if hook == "xdp" else TC_VERDICTS["shot"]


def end_constraints(policy: LinkPolicy) -> Iterator[Constraint]:
    """How the hook treats the chain's own verdict."""
    if policy.way == "tcx":
        yield Constraint(
            "tcx-verdicts",
            "chain",
            "TCX would let packets pass after stolen, queued and trap, and knows no repeat and"
            " reclassify",
            "stolen, queued and trap return shot, repeat and reclassify return ok",
        )
        yield Constraint(
            "end-verdict",
            "chain",
            "a chain that ran to its end with ok, pipe or unspec returns what the options say;"
            " ok would hide the programs of other owners",
            f"returns {policy.end_verdict}",
        )
