# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the nodes' answers to staging mean."""

from __future__ import annotations

import pytest

from services.scheduler.staging import NodeAwayError, StagingRefusedError, judge_staging
from shared.errors import FaultError, Reason, RefusedError

AWAY = FaultError("node n2 is not answering")
REFUSED = RefusedError(
    "cannot link",
    [Reason(path="chains[0]", rule="too long", got=65, allowed=64), Reason(path="", rule="so")],
    code="link_refused",
)


def test_no_errors_are_no_objection() -> None:
    """Every node could load its chains."""
    judge_staging("edge", {})


def test_every_refusal_is_given_with_the_path_led_by_its_node() -> None:
    """In the order of the nodes' names; the code is the first one's."""
    other = RefusedError("no rights", code="unsupported_by_kernel")

    with pytest.raises(StagingRefusedError, match="edge: n1, n3 refused: cannot link") as caught:
        judge_staging("edge", {"n3": other, "n1": REFUSED})

    assert caught.value.refusal_code == "link_refused"
    assert [(one.path, one.rule, one.got) for one in caught.value.reasons] == [
        ("nodes.n1.chains[0]", "too long", 65),
        ("nodes.n1", "so", None),
        ("nodes.n3", "no rights", None),
    ]


def test_a_rule_does_not_repeat_the_path_before_it() -> None:
    """A node's own words begin with the place, which the path says already."""
    busy = RefusedError("busy", [Reason(path="d3/xdp", rule="d3/xdp: is being changed")])

    with pytest.raises(StagingRefusedError) as caught:
        judge_staging("edge", {"n1": busy})

    assert [(one.path, one.rule) for one in caught.value.reasons] == [
        ("nodes.n1.d3/xdp", "is being changed")
    ]


def test_a_node_that_is_away_is_a_fault_that_names_it() -> None:
    """The same command may succeed later."""
    with pytest.raises(NodeAwayError, match="n2: node n2 is not answering") as caught:
        judge_staging("edge", {"n2": AWAY})

    assert [reason.path for reason in caught.value.reasons] == ["nodes.n2"]


def test_a_refusal_decides_even_if_another_node_is_away() -> None:
    """Waiting for the other would not help."""
    with pytest.raises(StagingRefusedError):
        judge_staging("edge", {"n1": REFUSED, "n2": AWAY})
