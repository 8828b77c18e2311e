# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Several deployments that one command changes: all of them are accepted, or none is.

Pure.

Rules:
 * Each revision names all deployments that its command changed, with the generation that each of
   them has by it.  So whoever reads the records knows of a command whether all of it is there.
 * What is there in part is not acted upon: the outbox writes the rest, whoever died.
 * A refusal has the reasons of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from services.scheduler.deployment import CommandFacts, check_generation, generation_of
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.errors import Reason, RefusedError


def facts_together(
    facts: CommandFacts,
    specs: Sequence[DeploymentSpec],
    deployments: Mapping[str, DeploymentRecord],
) -> CommandFacts:
    """The facts of a command that applies all of these; of one that applies one, as they are."""
    if len(specs) == 1:
        return facts
    generations = {spec.key: generation_of(deployments.get(spec.key)) + 1 for spec in specs}
    return replace(facts, together=generations)


def still_to_come(deployments: Mapping[str, DeploymentRecord]) -> frozenset[str]:
    """Deployments that a command changes together with others, which it has changed already.

    Empty: every command that is seen is seen whole.
    """
    return frozenset(
        key
        for record in deployments.values()
        for revision in record.revisions[-1:]
        for key, generation in revision.together.items()
        if generation_of(deployments.get(key)) < generation
    )


class Refusals:
    """What is refused of each of several deployments, to be told at once."""

    def __init__(self) -> None:
        self._asked: Final[set[str]] = set()
        self._refused: Final[dict[str, RefusedError]] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """A block about one deployment; what it refuses is kept."""
        self._asked.add(key)
        try:
            yield
        except RefusedError as error:
            self._refused.setdefault(key, error)

    def tell(self) -> None:
        """Nothing, if nothing was refused.

        Raises:
            RefusedError: If one deployment was asked about, as it is; else with every reason of
                each, its path led by the deployment, and with the code of the first.
        """
        for error in self._refused.values():
            if len(self._asked) == 1:
                raise error
            raise RefusedError(
                "; ".join(dict.fromkeys(one.message for one in self._refused.values())),
                [reason for key, one in self._refused.items() for reason in _located(key, one)],
                code=error.refusal_code,
            ) from error


def check_named_once(specs: Sequence[DeploymentSpec]) -> None:
    """Nothing, if no deployment is there twice.

    Raises:
        RefusedError: Naming those that are.
    """
    keys = [spec.key for spec in specs]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        rule = "may be named once"
        reasons = [Reason(path="also", rule=rule, got=key) for key in repeated]
        raise RefusedError(f"{', '.join(repeated)} {rule}", reasons)


def check_one_space(specs: Sequence[DeploymentSpec]) -> None:
    """Nothing, if whoever may be told of one deployment may be told of a refusal of all.

    Raises:
        RefusedError: They are of several spaces.
    """
    rule = "is another space than the first has"
    reasons = [
        Reason(path=f"also[{place}].space", rule=rule)
        for place, spec in enumerate(specs[1:])
        if spec.space != specs[0].space
    ]
    if reasons:
        raise RefusedError("deployments that are applied together are of one space", reasons)


def check_generations(
    specs: Sequence[DeploymentSpec],
    deployments: Mapping[str, DeploymentRecord],
    *,
    if_generation: int | None,
    if_generations: Mapping[str, int],
) -> None:
    """Nothing, if all of these are as whoever gives the command believes.

    Args:
        specs: What is applied.
        deployments: As they are.
        if_generation: Of the first; None: whatever it is.
        if_generations: By key; of one that is not named, whatever it is.

    Raises:
        RefusedError: With all that are not, or with names that are not applied.
    """
    strangers = sorted(set(if_generations) - {spec.key for spec in specs})
    if strangers:
        rule = "is not among the deployments that are applied"
        raise RefusedError(
            f"{', '.join(strangers)} {rule}",
            [Reason(path="if_generations", rule=rule, got=key) for key in strangers],
        )
    refusals = Refusals()
    for spec in specs:
        believed = [if_generations.get(spec.key), if_generation if spec is specs[0] else None]
        with refusals.of(spec.key):
            for one in believed:
                check_generation(deployments.get(spec.key), name=spec.key, if_generation=one)
    refusals.tell()


def _located(key: str, error: RefusedError) -> list[Reason]:
    if not error.reasons:
        return [Reason(path=key, rule=error.message)]
    return [
        Reason(
            path=f"{key}.{reason.path}" if reason.path else key,
            rule=reason.rule,
            got=reason.got,
            allowed=reason.allowed,
        )
        for reason in error.reasons
    ]
