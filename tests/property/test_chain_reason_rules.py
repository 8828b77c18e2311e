# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Why a chain is what it is: nothing is left unsaid, and nothing is said that is not so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.audiences import EVERYTHING
from services.scheduler.chain_reasons import chain_reasons
from services.scheduler.desired_state import derive_desired
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.selectors import LabelRule
from shared.errors import RefusedError
from tests.fleets import a_fleet, a_node, a_spec, applied

specs = st.builds(
    lambda name, order, interfaces, labels, percent, before: a_spec(
        name,
        order=order,
        interfaces=interfaces,
        labels=labels,
        percent=percent,
        before=before,
        rules=(LabelRule(label="b", operator="not-exists"),) if labels else (),
    ),
    st.sampled_from(("aa", "bb", "cc", "dd")),
    st.one_of(st.none(), st.integers(0, 2)),
    st.sampled_from([("*",), ("eth*",), ("wan*", "eth0")]),
    st.dictionaries(st.sampled_from(("a", "b")), st.just("1"), max_size=1),
    st.sampled_from((None, 50)),
    st.sampled_from(((), ("deployment:aa",), ("package:rate-limit",))),
)


@given(st.lists(specs, max_size=5), st.dictionaries(st.sampled_from(("a", "b")), st.just("1")))
def test_every_deployment_is_in_the_chain_or_has_a_reason(
    wanted: list[DeploymentSpec], labels: dict[str, str]
) -> None:
    """The programs are those that the node is told to run, in their order."""
    node = a_node("n1", "eth0", "wan0", **labels)
    fleet = a_fleet(node)
    for number, spec in enumerate(wanted, start=1):
        try:
            fleet = applied(fleet, spec, at=number)
        except RefusedError:
            continue
    derived = derive_desired(fleet).desired.get("n1")
    shall = [one for one in (derived.chains if derived else ()) if one.programs]

    for place in node.interfaces:
        found = chain_reasons(fleet, node, place, hook=None, sight=EVERYTHING)
        chains = [one for one in shall if one.place == place]

        told = [[one.deployment for one in hook.programs] for hook in found.hooks]
        assert told == [[one.deployment for one in chain.programs] for chain in chains]
        present = {key for keys in told for key in keys}
        absent = [one.deployment for one in found.absent]
        assert sorted((*present, *absent)) == sorted(fleet.deployments)
        assert all(one.why for one in found.absent)
        assert all(one.place and one.interface for hook in found.hooks for one in hook.programs)
