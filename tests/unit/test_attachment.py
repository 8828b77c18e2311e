# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which ways of attaching are tried, where a chain stands, and what a refusal says."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from services.node_executor.attachment import (
    ENOTSUPP,
    AnchorMissingError,
    AttachmentRefusedError,
    InterfaceFacts,
    Place,
    check_options,
    falls_back,
    is_smaller,
    must_attach_anew,
    place_among,
    swap_refused,
    ways,
    why_refused,
)
from services.node_executor.kernel_types import HookOccupant
from shared.contracts.link_options import AttachChoice, LinkOptions
from shared.contracts.node import AttachmentKind
from shared.identifiers import Hook

ETH0 = InterfaceFacts("eth0", mtu=1500, driver="mlx5_core", xdp_features=("basic", "rx-sg"))
PRESENT = (HookOccupant(7, "one", "", 70), HookOccupant(8, "two", "", 80))


@pytest.mark.parametrize(
    ("hook", "choice", "has_tcx", "expected"),
    [
        ("xdp", "auto", True, ("xdp-native", "xdp-generic")),
        ("xdp", "native", True, ("xdp-native",)),
        ("xdp", "generic", True, ("xdp-generic",)),
        ("xdp", "offload", True, ("xdp-offload",)),
        ("tc-ingress", "auto", True, ("tcx",)),
        ("tc-ingress", "auto", False, ("cls_bpf",)),
        ("tc-egress", "cls_bpf", True, ("cls_bpf",)),
        ("tc-egress", "tcx", True, ("tcx",)),
    ],
)
def test_only_auto_has_a_second_way(
    hook: Hook, choice: AttachChoice, has_tcx: bool, expected: tuple[str, ...]
) -> None:
    """What is asked for by name is that way or none."""
    assert ways(hook, choice, has_tcx=has_tcx) == expected


@pytest.mark.parametrize(
    ("hook", "choice", "has_tcx"),
    [("xdp", "tcx", True), ("tc-ingress", "native", True), ("tc-ingress", "tcx", False)],
)
def test_a_way_that_the_hook_or_the_kernel_lacks_is_refused(
    hook: Hook, choice: AttachChoice, has_tcx: bool
) -> None:
    """With the ways that there are."""
    with pytest.raises(AttachmentRefusedError) as caught:
        ways(hook, choice, has_tcx=has_tcx)

    assert caught.value.reasons[0].allowed


@pytest.mark.parametrize(
    ("facts", "options", "words"),
    [
        (ETH0, {"attach": "offload"}, "hardware"),
        (InterfaceFacts("lo", xdp_features=()), {"attach": "native"}, "lo does not run XDP"),
    ],
)
def test_what_the_driver_is_known_not_to_do_is_refused_beforehand(
    facts: InterfaceFacts, options: dict[str, Any], words: str
) -> None:
    """Before anything is fetched or linked."""
    with pytest.raises(AttachmentRefusedError, match=words):
        check_options("xdp", LinkOptions(**options), facts, has_tcx=True)


@pytest.mark.parametrize("attach", ["native", "offload"])
def test_what_is_not_known_is_tried(attach: AttachChoice) -> None:
    """Kernels before 6.3 do not say what their drivers can do."""
    check_options("xdp", LinkOptions(attach=attach), InterfaceFacts("eth0"), has_tcx=True)


def test_a_place_among_tcx_programs_needs_tcx() -> None:
    """On an older kernel a filter has one fixed priority."""
    check_options("tc-ingress", LinkOptions(position="first"), ETH0, has_tcx=True)
    with pytest.raises(AttachmentRefusedError):
        check_options("tc-ingress", LinkOptions(position="first"), ETH0, has_tcx=False)


def test_an_end_verdict_needs_tcx() -> None:
    """A filter's verdict is the last program's own, and an option is never ignored in silence."""
    check_options("tc-ingress", LinkOptions(end_verdict="ok"), ETH0, has_tcx=True)
    with pytest.raises(AttachmentRefusedError):
        check_options("tc-ingress", LinkOptions(end_verdict="ok"), ETH0, has_tcx=False)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE, ENOTSUPP])
def test_what_a_driver_says_no_with_leads_to_the_next_way(number: int) -> None:
    """Drivers do not agree on a number."""
    assert falls_back(number)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENODEV])
def test_what_is_no_driver_s_answer_does_not(number: int) -> None:
    """Generic XDP would be refused as well."""
    assert not falls_back(number)


def test_a_refusal_has_the_kernel_s_words_and_the_likely_cause() -> None:
    """MTU and merged packets are what drivers mind most."""
    facts = InterfaceFacts("eth0", mtu=9000, driver="ixgbe", has_receive_offload=True)

    said = why_refused("xdp-native", errno.EINVAL, "MTU too large", facts)

    assert said.startswith("eth0 (driver ixgbe) refused xdp-native: MTU too large (EINVAL)")
    assert "MTU is 9000" in said
    assert "ethtool -K eth0 lro off" in said


@pytest.mark.parametrize(
    ("kind", "number", "facts"),
    [
        ("xdp-native", errno.EINVAL, ETH0),
        ("xdp-generic", errno.EINVAL, InterfaceFacts("eth0", mtu=9000)),
        ("xdp-native", errno.ENOMEM, InterfaceFacts("eth0", mtu=9000)),
    ],
)
def test_a_cause_that_is_not_likely_is_not_named(
    kind: AttachmentKind, number: int, facts: InterfaceFacts
) -> None:
    """The number alone is given when the kernel said nothing."""
    assert why_refused(kind, number, "", facts).endswith(f": {errno.errorcode[number]}")


def test_errors_that_user_space_has_no_name_for_are_named() -> None:
    """524 is what some drivers answer."""
    facts = InterfaceFacts("dummy0", xdp_features=())

    said = why_refused("xdp-native", ENOTSUPP, "", facts)

    assert said == "dummy0 refused xdp-native: ENOTSUPP; the driver has no XDP at all"


def test_a_refused_swap_names_frags_at_a_large_mtu() -> None:
    """That is what tells the two programs apart for a driver."""
    said = swap_refused(errno.ERANGE, InterfaceFacts("eth0", mtu=9000, driver="veth"))

    assert "eth0 (driver veth)" in said
    assert "frags" in said


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("first", Place(is_before=True)),
        ("last", Place(is_before=False)),
        ("before:one", Place(is_before=True, anchor_id=7)),
        ("after:8", Place(is_before=False, anchor_id=8)),
    ],
)
def test_a_position_is_an_end_or_a_side_of_a_program(position: str, expected: Place) -> None:
    """The neighbour is named or given by its id."""
    assert place_among(position, PRESENT) == expected


@pytest.mark.parametrize("position", ["before:three", "after:9"])
def test_a_neighbour_must_be_there(position: str) -> None:
    """The refusal lists who is."""
    with pytest.raises(AnchorMissingError) as caught:
        place_among(position, PRESENT)

    assert caught.value.reasons[0].allowed == ["one (7)", "two (8)"]


@pytest.mark.parametrize(
    ("kind", "wanted", "before", "expected"),
    [
        ("xdp-generic", {"attach": "native"}, {}, True),
        ("xdp-native", {"attach": "native"}, {}, False),
        ("xdp-native", {}, {"attach": "native"}, False),
        ("xdp-generic", {}, {"attach": "generic"}, True),
        ("xdp-generic", {}, {}, False),
        ("tcx", {"attach": "cls_bpf"}, {}, True),
        ("cls_bpf", {}, {"attach": "cls_bpf"}, True),
        ("tcx", {}, {"attach": "tcx"}, False),
        ("tcx", {"position": "first"}, {}, True),
        ("tcx", {"position": "first"}, {"position": "first"}, False),
        ("xdp-native", {"keep_seconds": 1}, {}, False),
        ("", {"attach": "native"}, {}, False),
    ],
)
def test_only_another_way_or_place_needs_a_new_attachment(
    kind: AttachmentKind, wanted: dict[str, Any], before: dict[str, Any], expected: bool
) -> None:
    """Everything else is one update of what is there."""
    assert must_attach_anew(kind, LinkOptions(**wanted), LinkOptions(**before)) is expected


def test_what_was_taken_over_stays_as_it_is_attached() -> None:
    """The link is another's, and so is its way."""
    options = LinkOptions(attach="native")

    assert not must_attach_anew("xdp-generic", options, LinkOptions(), is_taken_over=True)


def test_a_place_beside_nobody_says_what_there_is_to_choose() -> None:
    """An empty list of names would say nothing."""
    with pytest.raises(AnchorMissingError) as caught:
        place_among("before:other", ())

    assert caught.value.reasons[0].allowed == "first or last: nobody else is on the hook"


@pytest.mark.parametrize(
    ("now", "before", "is_so"),
    [
        ((1500, 0), (9000, 0), True),
        ((9000, 1500), (9000, 9000), True),
        ((9000, 0), (9000, 1500), False),
        ((9600, 9000), (9000, 9000), False),
        ((0, 0), (1500, 1500), False),
    ],
)
def test_packets_are_smaller_if_either_end_says_so(
    now: tuple[int, int], before: tuple[int, int], is_so: bool
) -> None:
    """What is not known any more is no smaller."""
    assert is_smaller(now, before) == is_so


@pytest.mark.parametrize(("attach", "kind", "is_so"), [
    ("auto", "xdp-generic", True), ("generic", "xdp-generic", False), ("auto", "xdp-native", False),
])  # fmt: skip
def test_only_what_fell_back_is_tried_again(attach: Any, kind: Any, is_so: bool) -> None:
    """Generic XDP that was asked for is what was asked for."""
    options = LinkOptions(attach=attach)

    assert must_attach_anew(kind, options, options, fits_better=True) == is_so
    assert not must_attach_anew(kind, options, options)
