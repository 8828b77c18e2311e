# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The life of every finding, from what opened it to what closed it, out of records alone.

Pure: records in, findings out; the order in which they arrived changes nothing.

Rules:
 * A publication opens a finding for each rule that is for review or refused.  It is waived by the
   waivers that the verdict names, and later by each that is granted for it.
 * When the last of them expires or is revoked it is open again, whoever says so when.
 * It is resolved when the version is revoked; or when a newer version without it was published and
   no deployment has this one any more, and open again if one has.
 * A deployment's finding opens with the waiver by whose grace it runs, or with the violation.  It
   is resolved when the scheduler says that it complies, when nodes have another version that needs
   no waiver, and when it is gone from them.
 * What was revoked and is deployed is a finding, until nodes have something else.
 * A person may close any finding; whatever would have opened it opens it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from services.auditor.compliance.case_book import CaseBook
from services.auditor.compliance.cases import About, Case
from services.auditor.compliance.deployments import Deployment, KnownDeployments, Run
from services.auditor.compliance.facts import ComplianceFact, in_said_order
from services.auditor.compliance.versions import KnownVersions, Version
from shared.contracts.findings import ANNOTATE, RESOLVE, FindingCause
from shared.contracts.licences import OUTCOMES
from shared.contracts.reviews import REVOKE
from shared.deployment_keys import split_key

GRAVE: Final = frozenset({"review", "refused"})
_ROLLED_BACK: Final = frozenset({"rolled-back", "aborted"})


def findings_at(facts: Sequence[ComplianceFact], *, at_us: int) -> tuple[list[Case], int]:
    """Every finding that opened up to a moment, oldest first, and until when this stays true.

    Args:
        facts: What is seen, in any order.
        at_us: The moment, by the emitters' clocks, microseconds since 1970.
    """
    ordered = in_said_order(facts)
    cycles = LifeCycles(KnownVersions.of(fact for _, fact in ordered))
    for from_us, fact in ordered:
        if from_us > at_us:
            break
        cycles.pass_to(from_us)
        cycles.take(from_us, fact)
    cycles.pass_to(at_us)
    later = (from_us for from_us, _ in reversed(ordered) if from_us > at_us)
    return cycles.opened(), min(cycles.stays_until_us, *later, at_us + (1 << 62))


class LifeCycles:
    """What the records tell until now."""

    def __init__(self, versions: KnownVersions) -> None:
        """Nothing was told yet.

        Args:
            versions: Which versions there will be, and in which spaces.
        """
        self._versions: Final = versions
        self._book: Final = CaseBook()
        self._deployments: Final = KnownDeployments()
        self._of_version: Final[dict[tuple[str, str], dict[str, Case]]] = {}
        self._of_deployment: Final[dict[str, dict[str, Case]]] = {}
        self._hear: Final[Mapping[tuple[str, str], Callable[[int, ComplianceFact], None]]] = {
            ("catalog", "package.publish"): self._published,
            ("catalog", REVOKE): self._revoked,
            ("catalog", "waiver.grant"): self._granted,
            ("catalog", "waiver.revoke"): self._waiver_ended,
            ("catalog", "waiver.end"): self._waiver_ended,
            ("catalog", "waiver.use"): self._used_by_version,
            ("catalog", "licence.violate"): self._violated_by_version,
            ("scheduler", "deployment.apply"): self._applied,
            ("scheduler", "deployment.rollback"): self._applied,
            ("scheduler", "deployment.remove"): self._removed,
            ("scheduler", "deployment.complete"): self._completed,
            ("scheduler", "deployment.alarm"): self._alarmed,
            ("scheduler", "waiver.use"): self._used_by_deployment,
            ("scheduler", "licence.violate"): self._violated_by_deployment,
            ("scheduler", "licence.comply"): self._complied,
            ("auditor", RESOLVE): self._closed,
            ("auditor", ANNOTATE): self._annotated,
        }

    def opened(self) -> list[Case]:
        """All findings, the first to open first."""
        return sorted(self._book.cases.values(), key=lambda one: (one.times_us[0], one.id))

    @property
    def stays_until_us(self) -> int:
        """When something changes that no record says."""
        return self._book.waivers.next_expiry_us

    def pass_to(self, now_us: int) -> None:
        """Waivers that expire up to now are over."""
        self._book.pass_to(now_us)

    def take(self, at_us: int, fact: ComplianceFact) -> None:
        """The next record, which counts from that moment."""
        hear = self._hear.get((fact.emitter, fact.action))
        if hear is not None and fact.outcome != "refused":
            hear(at_us, fact)

    def _published(self, at_us: int, fact: ComplianceFact) -> None:
        judged = fact.details.licences
        version = self._versions.publish(fact)
        for one in judged.findings if judged else ():
            if one.outcome in GRAVE:
                version.broken.setdefault(one.rule, []).append(one)
        for rule, found in version.broken.items():
            case = self._version_case(version, rule)
            case.outcome = max((one.outcome for one in found), key=OUTCOMES.index)
            case.paths = tuple(dict.fromkeys(one.path for one in found if one.path))
            self._book.open(case, at_us, "publication", fact)
            is_named = all(one.waiver for one in found)
            covering = self._book.covering(case, at_us)
            if waivers := {one.waiver for one in found} if is_named else covering:
                self._book.waive(case, at_us, waivers, fact)
        self._look_at(at_us, self._versions.of_package(fact.package), fact)

    def _revoked(self, at_us: int, fact: ComplianceFact) -> None:
        version = self._versions.revoke(fact)
        for case in self._of_version.get(version.key, {}).values():
            self._book.resolve(case, at_us, "revocation", (fact.index,), fact)
        self._look_at(at_us, self._versions.of_package(fact.package), fact)
        for deployment in self._deployments.having(version.archive_sha256):
            case = self._revoked_case(deployment, version.archive_sha256)
            self._book.open(case, at_us, "revocation", fact)

    def _granted(self, at_us: int, fact: ComplianceFact) -> None:
        known = self._book.waivers.grant(fact, at_us)
        if known is None:
            return
        for version in self._versions.of_package(known.waiver.scope.package):
            for case in self._of_version.get(version.key, {}).values():
                is_for_it = known.waiver.id in self._book.covering(case, at_us)
                if case.state == "open" and is_for_it:
                    self._book.waive(case, at_us, (known.waiver.id,), fact)

    def _waiver_ended(self, at_us: int, fact: ComplianceFact) -> None:
        name = fact.details.waiver
        if self._book.waivers.end(name):
            self._book.reopen_waived(at_us, name, (fact.index,), fact)
            return
        for case in self._book.cases.values():
            last = case.history[-1]
            if last.cause == "waiver-end" and name in last.waivers:
                case.prove((fact.index,))

    def _used_by_version(self, at_us: int, fact: ComplianceFact) -> None:
        version = self._versions.named(fact)
        for rule in fact.details.rules:
            case = self._version_case(version, rule)
            if case.state == "resolved" and self._is_done_with(version, rule):
                continue
            case.paths = case.paths or fact.details.paths
            if case.state != "waived":
                self._book.open(case, at_us, "publication", fact)
            self._book.waive(case, at_us, (*case.waivers, fact.details.waiver), fact)

    def _violated_by_version(self, at_us: int, fact: ComplianceFact) -> None:
        version = self._versions.named(fact)
        for rule in fact.details.rules:
            case = self._version_case(version, rule)
            if case.state == "resolved" and self._is_done_with(version, rule):
                continue
            self._book.open(case, at_us, "violation", fact)

    def _applied(self, at_us: int, fact: ComplianceFact) -> None:
        deployment, run = self._deployments.apply(fact)
        record = self._versions.revoked_archives.get(run.archive_sha256)
        if record is not None:
            case = self._revoked_case(deployment, run.archive_sha256)
            self._book.open(case, at_us, "deployment", fact, record)
        self._look_at(at_us, self._versions.of_archive(run.archive_sha256), fact)

    def _removed(self, _at_us: int, fact: ComplianceFact) -> None:
        self._deployments.remove(fact)

    def _completed(self, at_us: int, fact: ComplianceFact) -> None:
        deployment = self._deployments.of(fact.deployment)
        went_back = fact.details.rollout in _ROLLED_BACK
        if fact.outcome != "succeeded" and not went_back:
            return
        if deployment.removal and deployment.removal[0] == fact.correlation:
            proof = (deployment.removal[1], fact.index)
            self._has_now(at_us, deployment, None, proof, fact)
            return
        run = deployment.runs.get(fact.details.base_revision) if went_back else (
            deployment.by_command.get(fact.correlation))  # fmt: skip
        if run is not None:
            self._has_now(at_us, deployment, run, (run.record, fact.index), fact)
        elif went_back and not fact.details.base_revision:
            self._has_now(at_us, deployment, None, (fact.index,), fact)

    def _has_now(
        self,
        at_us: int,
        deployment: Deployment,
        run: Run | None,
        proof: tuple[int, ...],
        fact: ComplianceFact,
    ) -> None:
        """Nodes have nothing else of the deployment than this."""
        gone = deployment.settle(run)
        cause: FindingCause = "removal" if run is None else "other-version"
        for case in self._of_deployment.get(deployment.name, {}).values():
            if case.about.kind == "revoked-runs":
                is_over = run is None or run.archive_sha256 != case.archive_sha256
            else:
                needs_none = run is not None and case.about.rule not in run.waived
                is_over = run is None or (case.state == "waived" and needs_none)
            if is_over:
                self._book.resolve(case, at_us, cause, proof, fact)
        for archive in gone:
            self._look_at(at_us, self._versions.of_archive(archive), fact)

    def _alarmed(self, at_us: int, fact: ComplianceFact) -> None:
        archive = fact.details.archive_sha256
        if not fact.details.on_revoked or not archive:
            return
        case = self._revoked_case(self._deployments.of(fact.deployment), archive)
        case.package, case.version = fact.package, fact.version
        self._book.open(case, at_us, "violation", fact)

    def _used_by_deployment(self, at_us: int, fact: ComplianceFact) -> None:
        deployment = self._deployments.of(fact.deployment)
        run = deployment.by_command.get(fact.correlation)
        for rule in fact.details.rules:
            case = self._deployment_case(deployment, rule, fact)
            if run is not None:
                run.waived.add(rule)
            if case.state != "waived":
                self._book.open(case, at_us, "deployment", fact)
            self._book.waive(case, at_us, (*case.waivers, fact.details.waiver), fact)

    def _violated_by_deployment(self, at_us: int, fact: ComplianceFact) -> None:
        deployment = self._deployments.of(fact.deployment)
        for rule in fact.details.rules:
            self._book.open(self._deployment_case(deployment, rule, fact), at_us, "violation", fact)
        self._settle(at_us, fact, set(fact.details.rules))

    def _complied(self, at_us: int, fact: ComplianceFact) -> None:
        self._settle(at_us, fact, set())

    def _settle(self, at_us: int, fact: ComplianceFact, broken: set[str]) -> None:
        """No other rule is broken by the deployment without a waiver."""
        for case in self._of_deployment.get(fact.deployment, {}).values():
            rule = case.about.rule
            if case.state != "open" or case.about.kind != "deployment-rule" or rule in broken:
                continue
            by = [one for one in fact.details.waivers if self._book.waivers.is_for(one, rule)]
            standing = self._book.waivers.standing(by, at_us)
            if standing:
                self._book.waive(case, at_us, standing, fact)
            else:
                self._book.resolve(case, at_us, "compliance", (fact.index,), fact)

    def _closed(self, at_us: int, fact: ComplianceFact) -> None:
        case = self._book.cases.get(fact.details.finding)
        if case is not None:
            evidence = fact.details.evidence
            self._book.resolve(case, at_us, "person", (fact.index,), fact, evidence=evidence)

    def _annotated(self, at_us: int, fact: ComplianceFact) -> None:
        case = self._book.cases.get(fact.details.finding)
        if case is not None:
            case.note(fact, at_us)

    def _look_at(self, at_us: int, versions: Iterable[Version], fact: ComplianceFact) -> None:
        """Findings of versions that a newer version makes pointless, or no longer does."""
        for version in versions:
            for case in self._of_version.get(version.key, {}).values():
                is_done = self._is_done_with(version, case.about.rule)
                if case.state != "resolved" and is_done:
                    newer = self._versions.newer_without(version, case.about.rule)
                    proof = (newer.record if newer else fact.index, fact.index)
                    self._book.resolve(case, at_us, "other-version", proof, fact)
                elif case.state == "resolved" and case.cause == "other-version" and not is_done:
                    self._book.open(case, at_us, "deployment", fact)
                    covering = self._book.covering(case, at_us)
                    if covering:
                        self._book.waive(case, at_us, covering, fact)

    def _is_done_with(self, version: Version, rule: str) -> bool:
        if version.is_revoked:
            return True
        if self._deployments.are_having(version.archive_sha256):
            return False
        return self._versions.newer_without(version, rule) is not None

    def _version_case(self, version: Version, rule: str) -> Case:
        about = About("version-rule", rule, version.package, version.version, home=version.home)
        case = self._book.case(about, version.home, self._of_version.setdefault(version.key, {}))
        case.package, case.version = version.package, version.version
        case.archive_sha256 = version.archive_sha256
        return case

    def _deployment_case(self, deployment: Deployment, rule: str, fact: ComplianceFact) -> Case:
        space, _ = split_key(deployment.name)
        about = About("deployment-rule", rule, deployment=deployment.name, home=space)
        found = self._of_deployment.setdefault(deployment.name, {})
        case = self._book.case(about, fact.audience, found)
        case.package, case.version = fact.package, fact.version
        case.archive_sha256 = deployment.archive_of(fact.version)
        case.place(fact.details.nodes, fact.details.node_count)
        return case

    def _revoked_case(self, deployment: Deployment, archive: str) -> Case:
        about = About("revoked-runs", deployment=deployment.name, archive_sha256=archive)
        found = self._of_deployment.setdefault(deployment.name, {})
        case = self._book.case(about, deployment.audience, found)
        run = deployment.run_of(archive)
        case.archive_sha256 = archive
        if run is not None:
            case.package, case.version = run.package, run.version
            case.place(run.nodes, len(run.nodes))
        return case
