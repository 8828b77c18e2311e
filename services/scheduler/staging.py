# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the nodes' answers to staging mean for the command that asked.

Rules:
 * Every node's every reason is given, its path led by the node's name.
 * A node that says no decides: the same would be refused again.  Only if none does, a node that is
   away makes the whole a fault, so that nothing is recorded and a repeat can succeed.
 * What a node says of a chain with a program that is not seen is not repeated: it may name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.scheduler.audiences import Sight
from shared.contracts.desired import DesiredChain
from shared.errors import FaultError, Reason, RefusedError
from shared.identifiers import render_hook_point


class StagingRefusedError(RefusedError):
    """Some node cannot load what it would have to run."""


class NodeAwayError(FaultError):
    """Some node did not answer; nothing was changed."""


def seen_errors(
    errors: Mapping[str, RefusedError | FaultError],
    staging: Mapping[str, tuple[DesiredChain, ...]],
    sight: Sight,
) -> dict[str, RefusedError | FaultError]:
    """What went wrong on each node, as far as `sight` goes."""
    return {node: _seen(error, staging.get(node, ()), sight) for node, error in errors.items()}


def judge_staging(name: str, errors: Mapping[str, RefusedError | FaultError]) -> None:
    """Nothing, if every node could load its chains.

    Args:
        name: Of the deployment, or of all that are applied together.
        errors: By node.

    Raises:
        StagingRefusedError: A node refused; the code is the first such node's.
        NodeAwayError: None refused, but some did not answer or had a fault.
    """
    refused = {
        node: error for node, error in sorted(errors.items()) if isinstance(error, RefusedError)
    }
    if refused:
        first = next(iter(refused.values()))
        raise StagingRefusedError(
            f"{name}: {', '.join(refused)} refused: {first.message}",
            [reason for node, error in refused.items() for reason in _located(node, error)],
            code=first.refusal_code,
        )
    if errors:
        raise NodeAwayError(
            f"{name}: nothing was changed, because not every node could try it: "
            + "; ".join(f"{node}: {error.message}" for node, error in sorted(errors.items())),
            [reason for node, error in sorted(errors.items()) for reason in _located(node, error)],
        )


def _seen(
    error: RefusedError | FaultError, chains: Iterable[DesiredChain], sight: Sight
) -> RefusedError | FaultError:
    """The error, without what it may say of a chain that is not seen whole."""
    points = {
        render_hook_point(one.interface, one.hook, one.netns): sight.sees_chain(None, one)
        for one in chains
    }
    if all(points.values()):
        return error
    rule = "the chain, in which there is a program of a restricted space, cannot be loaded"
    reasons = [Reason(path=point, rule=rule) for point, is_seen in points.items() if not is_seen]
    message = "a chain with a program of a restricted space cannot be loaded"
    if isinstance(error, RefusedError):
        return RefusedError(message, reasons, code=error.refusal_code)
    return FaultError(message, reasons, code=error.fault_code)


def _located(node: str, error: RefusedError | FaultError) -> list[Reason]:
    at = f"nodes.{node}"
    if not error.reasons:
        return [Reason(path=at, rule=error.message)]
    return [
        Reason(
            path=f"{at}.{reason.path}" if reason.path else at,
            rule=reason.rule.removeprefix(f"{reason.path}: "),
            got=reason.got,
            allowed=reason.allowed,
        )
        for reason in error.reasons
    ]
