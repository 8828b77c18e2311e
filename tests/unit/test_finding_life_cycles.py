# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The life of findings, from what opened them to what closed them."""

from __future__ import annotations

from services.auditor.compliance.cases import Case
from services.auditor.compliance.documents import findings_csv
from services.auditor.compliance.life_cycles import findings_at
from shared.contracts.findings import Finding, FindingsShown
from tests.support.compliance import Story, us

GROUPS, SOURCE = "policy-groups", "source-present"


def cases(story: Story, hours: float) -> list[Case]:
    """All findings at an hour of the story."""
    return findings_at(story.facts(), at_us=us(hours))[0]


def only(story: Story, hours: float) -> Finding:
    """The one finding at an hour of the story."""
    (case,) = cases(story, hours)
    return case.shown(at_us=us(hours))


def states(story: Story, hours: float) -> list[tuple[str, str, tuple[int, ...]]]:
    """The one finding's history: state, cause and records."""
    return [(one.state, one.cause, one.records) for one in only(story, hours).history]


def test_a_publication_opens_a_finding_for_each_grave_rule() -> None:
    """What is for review is open; what is noted, holds, or was refused with all else, is none."""
    story = Story()
    broken = [(SOURCE, "review", ""), ("under-declared", "noted", "")]
    story.publish(1, "filter", "1.0.0", broken)
    story.publish(2, "filter", "1.1.0", [(GROUPS, "refused", "")], outcome="refused")
    found = only(story, 3)
    assert (found.kind, found.rule, found.outcome) == ("version-rule", SOURCE, "review")
    assert (found.package, found.version, found.paths) == ("filter", "1.0.0", ("manifest.licence",))
    assert states(story, 3) == [("open", "publication", (0,))]
    assert found.open_seconds == 2 * 3600
    assert cases(story, 0.5) == []


def test_a_waiver_waives_until_it_expires_whoever_says_so_when() -> None:
    """Granted, expired at its own time, and the catalog's word only proves it once more."""
    story = Story()
    story.publish(1, "filter", "1.0.0", [(GROUPS, "review", "")])
    story.grant(2, "w-1", GROUPS, "filter", until=10)
    assert states(story, 3)[-1] == ("waived", "waiver", (1,))
    waived = only(story, 3).history[-1]
    assert (waived.waivers, waived.until) == (("w-1",), "2026-01-01T10:00:00.000000Z")
    assert (waived.actor_role, waived.reason) == ("approver", "agreed")
    assert states(story, 10)[-1] == ("open", "waiver-end", (1,))
    story.end(12, "w-1", GROUPS, "filter", until=10)
    assert states(story, 13)[-1] == ("open", "waiver-end", (1, 2))
    found = only(story, 13)
    assert (found.open_seconds, found.waived_seconds) == (4 * 3600, 8 * 3600)
    assert found.times_opened == 2


def test_a_waiver_that_was_granted_before_covers_what_is_published() -> None:
    """Whether or not the publication names it; one that ended does not."""
    story = Story()
    story.grant(1, "w-1", GROUPS, "filter", until=10)
    story.publish(2, "filter", "1.0.0", [(GROUPS, "review", "")])
    assert states(story, 3) == [("open", "publication", (1,)), ("waived", "waiver", (0, 1))]
    assert states(story, 11)[-1] == ("open", "waiver-end", (0,))
    late = Story()
    late.grant(1, "w-1", GROUPS, "filter", until=10)
    late.publish(12, "filter", "1.0.0", [(GROUPS, "review", "")])
    assert states(late, 13) == [("open", "publication", (1,))]


def test_another_waiver_takes_over_and_a_revoked_one_ends_at_once() -> None:
    """While any is in force for it, the finding is not open."""
    story = Story()
    story.publish(1, "filter", "1.0.0", [(GROUPS, "refused", "w-1")])
    story.grant(0.5, "w-1", GROUPS, "filter", until=10)
    story.grant(3, "w-2", GROUPS, "filter", until=20)
    story.grant(3, "w-3", SOURCE, "filter", until=30)
    story.grant(3, "w-4", GROUPS, "another", until=30)
    assert only(story, 9).history[-1].waivers == ("w-1",)
    story.withdraw(12, "w-2", GROUPS, "filter", until=20)
    history = only(story, 13).history
    assert [one.state for one in history] == ["open", "waived", "waived", "open"]
    assert [one.waivers for one in history[1:]] == [("w-1",), ("w-2",), ("w-2",)]


def test_a_revocation_resolves_what_was_found_of_a_version() -> None:
    """And what runs it is another finding, until nodes have something else."""
    story = Story()
    story.publish(1, "filter", "1.0.0", [(GROUPS, "review", "")])
    first = story.apply(2, "edge", "filter", "1.0.0", nodes=("h1", "h2"))
    story.complete(3, "edge", first)
    revoked = story.revoke(4, "filter", "1.0.0")
    story.publish(4, "filter", "1.1.0")
    second = story.apply(5, "edge", "filter", "1.1.0", revision=2)
    version, runs = cases(story, 5)
    assert [(one.state, one.cause) for one in version.history] == [
        ("open", "publication"),
        ("resolved", "revocation"),
    ]
    assert version.history[-1].records == (revoked,)
    shown = runs.shown(at_us=us(5))
    assert (shown.kind, shown.state, shown.nodes) == ("revoked-runs", "open", ("h1", "h2"))
    done = story.complete(6, "edge", second)
    _, runs = cases(story, 7)
    assert runs.history[-1].state == "resolved"
    assert runs.history[-1].records == (done - 1, done)


def test_a_newer_version_resolves_only_what_no_deployment_has() -> None:
    """And the finding is open again if the old version is deployed again."""
    story = Story()
    story.publish(1, "filter", "1.0.0", [(GROUPS, "review", "")])
    first = story.apply(2, "edge", "filter", "1.0.0")
    story.complete(2, "edge", first)
    newer = story.publish(3, "filter", "1.1.0")
    assert only(story, 3).state == "open"
    second = story.apply(4, "edge", "filter", "1.1.0", revision=2)
    assert only(story, 4).state == "open"
    done = story.complete(5, "edge", second)
    assert states(story, 6)[-1] == ("resolved", "other-version", (newer, done))
    story.apply(7, "edge", "filter", "1.0.0", revision=3)
    assert states(story, 8)[-1] == ("open", "deployment", (done + 1,))


def test_a_removal_is_over_when_no_node_has_anything() -> None:
    """What a deployment broke is resolved by the end of its removal, and not by the command."""
    story = Story()
    story.publish(1, "filter", "1.0.0")
    story.complete(2, "edge", story.apply(2, "edge", "filter", "1.0.0"))
    story.standing(3, "edge", "filter", "1.0.0", [GROUPS])
    command = story.remove(4, "edge")
    assert only(story, 4.5).state == "open"
    done = story.complete(5, "edge", command)
    assert states(story, 6) == [
        ("open", "violation", (done - 2,)),
        ("resolved", "removal", (done - 1, done)),
    ]


def test_a_deployment_by_grace_of_a_waiver_is_waived_then_broken_then_well() -> None:
    """waiver.use, the expiry, licence.violate and licence.comply, in the scheduler's words."""
    story = Story()
    story.grant(0, "w-1", GROUPS, "filter", until=10)
    story.publish(1, "filter", "1.0.0", [(GROUPS, "refused", "w-1")])
    command = story.apply(2, "edge", "filter", "1.0.0", uses=[("w-1", GROUPS)], nodes=("h1", "h2"))
    story.complete(3, "edge", command)
    _, edge = cases(story, 4)
    assert edge.shown(at_us=us(4)).nodes == ("h1", "h2")
    assert [one.state for one in edge.history] == ["open", "waived"]
    violated = story.standing(10.1, "edge", "filter", "1.0.0", [GROUPS])
    _, edge = cases(story, 11)
    assert edge.history[-1].cause == "waiver-end"
    assert edge.history[-1].records == (0, violated)
    complied = story.standing(12, "edge", "filter", "1.0.0", [])
    _, edge = cases(story, 12)
    assert (edge.state, edge.cause) == ("resolved", "compliance")
    assert edge.history[-1].records == (complied,)
    story.standing(13, "edge", "filter", "1.0.0", [GROUPS])
    assert cases(story, 13)[1].state == "open"


def test_a_deployment_that_complies_by_another_waiver_is_waived() -> None:
    """`licence.comply` names the waivers by whose grace it runs."""
    story = Story()
    story.publish(1, "filter", "1.0.0")
    story.standing(2, "edge", "filter", "1.0.0", [GROUPS, SOURCE])
    story.grant(3, "w-2", GROUPS, "filter", until=20)
    story.standing(4, "edge", "filter", "1.0.0", [], waivers=["w-2"])
    found = {one.about.rule: one for one in cases(story, 5)}
    assert (found[GROUPS].state, found[GROUPS].waivers) == ("waived", ("w-2",))
    assert (found[SOURCE].state, found[SOURCE].cause) == ("resolved", "compliance")


def test_a_version_without_need_of_a_waiver_resolves_a_waived_deployment() -> None:
    """Once nodes have it; a rollout that went back leaves all as it was."""
    story = Story()
    story.grant(0, "w-1", GROUPS, "filter", until=99)
    story.complete(2, "edge", story.apply(2, "edge", "filter", "1.0.0", uses=[("w-1", GROUPS)]))
    back = story.apply(3, "edge", "filter", "1.1.0", revision=2)
    story.complete(4, "edge", back, outcome="failed", rollout="rolled-back", base_revision=1)
    assert only(story, 5).state == "waived"
    good = story.apply(6, "edge", "filter", "1.1.0", revision=3)
    done = story.complete(7, "edge", good)
    assert states(story, 8)[-1] == ("resolved", "other-version", (done - 1, done))


def test_a_person_closes_a_finding_until_it_happens_again() -> None:
    """With reason and evidence; a note changes nothing."""
    story = Story()
    story.publish(1, "filter", "1.0.0", [(GROUPS, "review", "")])
    name = only(story, 1).id
    details = {"finding": name, "evidence": [0]}
    story.say(2, "auditor", "finding.annotate", details=details, reason="asked the lawyers")
    story.say(3, "auditor", "finding.resolve", details=details, reason="they agreed")
    story.say(3, "auditor", "finding.resolve", details=details, outcome="refused")
    found = only(story, 4)
    assert [(one.state, one.cause, one.evidence) for one in found.history] == [
        ("open", "publication", ()),
        ("resolved", "person", (0,)),
    ]
    assert [(one.reason, one.record) for one in found.notes] == [("asked the lawyers", 1)]
    again = story.say(
        5, "catalog", "licence.violate", outcome="observed", package="filter", version="1.0.0",
        details={"waiver": "w-1", "rules": [GROUPS]},
    )  # fmt: skip
    assert states(story, 6)[-1] == ("open", "violation", (again,))


def test_a_clock_that_was_ahead_is_set_right_by_what_came_after() -> None:
    """What one emitter said before an earlier time counts from that time on."""
    story = Story()
    story.publish(50, "filter", "1.0.0", [(GROUPS, "review", "")])
    story.publish(2, "filter", "2.0.0", [(GROUPS, "review", "")])
    assert [one.history[0].at for one in cases(story, 3)] == ["2026-01-01T02:00:00.000000Z"] * 2


def test_what_cannot_be_read_says_nothing() -> None:
    """An event without details, or with other types, is no fact."""
    story = Story()
    story.say(1, "catalog", "package.publish", package="a", details={"licences": "none"})
    left_out = {"left_out": {"details": 3}}
    story.say(1, "catalog", "package.publish", package="a", details=left_out)
    assert story.facts() == []


def test_an_id_follows_from_what_the_finding_is_about() -> None:
    """The same package, version and rule in another space is another finding."""
    story = Story()
    story.publish(1, "filter", "1.0.0", [(GROUPS, "review", "")])
    story.publish(1, "filter", "1.0.0", [(GROUPS, "review", "")], audience="p_acme")
    one, other = (case.id for case in cases(story, 2))
    assert one != other
    anew = Story()
    anew.publish(7, "filter", "1.0.0", [(GROUPS, "refused", "")], audience="p_acme")
    assert only(anew, 8).id in {one, other}


def test_a_table_has_a_line_for_each_finding_and_no_formula() -> None:
    """With its last change and the records that prove it."""
    story = Story()
    story.publish(1, "=1+1", "1.0.0", [(GROUPS, "review", "")])
    page = FindingsShown(at="now", findings=(only(story, 3),), tree_size=2)
    _, line = findings_csv(page).splitlines()
    assert line.startswith('"f-')
    assert '"\'=1+1"' in line
    assert '"publication","","","0"' in line
