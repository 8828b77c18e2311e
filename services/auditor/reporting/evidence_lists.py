# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What standards ask of an audit log and of licence compliance, and which question answers it here.

Pure.  The words are ours; the numbers are those of PCI DSS 4.0.1, requirement 10, and of ISO/IEC
5230:2020 (OpenChain).  What only people can show is said to be theirs.

Rules:
 * `some`: there should be such records.  `none`: there should be none.  `any`: whatever there is,
   here it is.
 * A question is one that `l3af audit log` takes, so that whoever checks can ask it again.
 * A message that was not believed answers nothing, whatever it claims to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.contracts.log_health import Condition
from shared.contracts.reports import StandardName

_BELIEVED: Final = 'problem == ""'
Expectation = Literal["some", "none", "any"]


@dataclass(frozen=True, slots=True)
class Item:
    """One requirement."""

    number: str
    asks: str
    """What it is about, in a few words."""
    shows: str
    """How it is met here, or who has to show it."""
    action: str = ""
    outcome: str = ""
    where: str = ""
    """Filters of the question; all empty: there is none."""
    expects: Expectation = "any"
    conditions: tuple[Condition, ...] = ()
    """Of the log's health, that must need no attention."""
    days_kept: int = 0
    """How old the oldest record should be at least, once the log has been kept for as long."""

    @property
    def expression(self) -> str:
        """What is asked of each record beside action and outcome."""
        return f"{_BELIEVED} and ({self.where})" if self.where else _BELIEVED

    @property
    def command(self) -> str:
        """The question, as it is asked again; empty: there is none."""
        if not (self.action or self.outcome or self.where):
            return ""
        words = [
            f"--{name} '{value}'"
            for name, value in (
                ("action", self.action),
                ("outcome", self.outcome),
                ("where", self.expression),
            )
            if value
        ]
        return " ".join(["l3af audit log", *words])


@dataclass(frozen=True, slots=True)
class Standard:
    """A list of requirements."""

    title: str
    items: tuple[Item, ...] = field(default=())


PCI_DSS: Final = Standard(
    "PCI DSS 4.0.1, requirement 10",
    (
        Item(
            "10.2.1",
            "audit logs are on",
            "every command and event is recorded; there is no switch. Signed heads come while the "
            "log grows",
            action="log.checkpoint",
            expects="some",
        ),
        Item(
            "10.2.1.1",
            "each person's access to data is recorded",
            "of this product's data the audit log's readers are records; what programs count about "
            "packets is no personal data, and reading it is in no record",
            action="log.read",
        ),
        Item(
            "10.2.1.2",
            "what administrators do is recorded",
            "commands under the role administrator, granted or not",
            where='actor.role == "administrator" and outcome in ["accepted", "refused"]',
        ),
        Item(
            "10.2.1.3",
            "access to the audit log is recorded",
            "each question is, before anything is answered",
            action="log.read",
            expects="some",
        ),
        Item(
            "10.2.1.4",
            "refused attempts are recorded",
            "each with the rule that refused it; what the server itself stops is in its own log",
            outcome="refused",
        ),
        Item(
            "10.2.1.5",
            "changes of credentials and rights are recorded",
            "whom nodes trust, code owners, members of spaces, keys of the log; who may connect is "
            "changed on the installation's machine alone, and that machine has to record it",
            where='action in ["trust.set", "owners.set", "space.create", "space.update", '
            '"space.lift", "log.key"]',
        ),
        Item(
            "10.2.1.6",
            "starting and stopping of logs is recorded",
            "a stop is a gap in the signed heads, a start signs the next; loss is said as log.gap",
            where='action in ["log.gap", "state.rebuild", "journal.resume", "node.mode"]',
        ),
        Item(
            "10.2.1.7",
            "creation and deletion of system objects is recorded",
            "every program that was put on a hook, changed or taken off, read back from the kernel",
            action="chain.*",
        ),
        Item(
            "10.2.2",
            "each record says who, what, when, how it ended, from where, about what",
            "no granted or refused command is without who asked",
            where='outcome in ["accepted", "refused"] and not has actor '
            'and emitter in ["catalog", "scheduler", "auditor"]',
            expects="none",
        ),
        Item(
            "10.3.1",
            "who may read is limited to those who need it",
            "roles auditor and administrator, in the permission table that the server enforces",
        ),
        Item(
            "10.3.2",
            "logs cannot be changed unnoticed",
            "RFC 6962 tree and signed heads; nobody remembers this log otherwise",
            action="log.conflict",
            expects="none",
            conditions=("checkpoint",),
        ),
        Item(
            "10.3.3",
            "logs are backed up soon",
            "l3af audit backup, the log as files, witnesses on other machines",
            conditions=("backup", "witness"),
        ),
        Item(
            "10.3.4",
            "changes of logs are watched for",
            "l3af audit verify --store and --checkpoint; heads that witnesses and nodes remember",
            conditions=("checkpoint", "witness"),
        ),
        Item(
            "10.4.1",
            "logs are reviewed every day",
            "people's; reading is recorded, so a review leaves a trace",
            action="log.read",
            expects="some",
        ),
        Item(
            "10.4.1.1",
            "reviews are automatic",
            "watch rules look at every record",
            action="watch.alert",
        ),
        Item(
            "10.5.1",
            "twelve months are kept",
            "the log is kept whole and can be asked at once",
            days_kept=365,
        ),
        Item(
            "10.6.1",
            "clocks are synchronised",
            "emitters' clocks are compared with the auditor's",
            conditions=("clock",),
        ),
        Item(
            "10.7.1",
            "failures of the logging are detected and said",
            "log.alarm and log.recover in the stream",
            where='action in ["log.alarm", "log.recover"]',
            conditions=("intake", "lag", "disk"),
        ),
        Item(
            "10.7.2",
            "failures of other controls are detected and said",
            "drift, refused changes, companions that were given up, nodes that lost their memory",
            where='action in ["chain.drift", "node.drift", "companion.give-up", "state.rebuild"] '
            'or (action startswith "chain." and outcome == "failed")',
        ),
        Item(
            "10.7.3",
            "failures are responded to",
            "people's; what was missing is named, and that nothing is missing any more too",
            conditions=("gaps",),
        ),
    ),
)

OPENCHAIN: Final = Standard(
    "ISO/IEC 5230:2020 (OpenChain 2.1)",
    (
        Item("3.1.1", "a written policy", "people's; the policy pack of the catalog is its part"),
        Item("3.1.2", "competence of those involved", "people's"),
        Item("3.1.3", "awareness of those involved", "people's"),
        Item(
            "3.1.5",
            "obligations of each licence are known",
            "each publication has declared and chosen licences, findings and obligations",
            action="package.publish",
            outcome="accepted",
            expects="some",
        ),
        Item("3.2.1", "a way to ask", "people's; `contact` of the installation's own pages"),
        Item(
            "3.2.2",
            "cases of non-compliance are reviewed and mended",
            "rules that came to be broken, and when that ended",
            where='action in ["licence.violate", "licence.comply"]',
        ),
        Item(
            "3.2.2.5",
            "decisions on such cases are recorded",
            "waivers: requested, granted by somebody else, used, ended",
            action="waiver.*",
        ),
        Item(
            "3.3.1",
            "a bill of materials for what is supplied",
            "l3af package sbom; of what ran at a moment l3af audit sbom",
            action="package.publish",
            outcome="accepted",
            expects="some",
        ),
        Item(
            "3.3.2",
            "usual cases of use are handled",
            "what the policy refused, with rule, evidence and fix",
            action="package.publish",
            outcome="refused",
        ),
        Item(
            "3.4.1",
            "what licences ask for is prepared and kept",
            "l3af audit bundle notices; archives hold texts and sources, by digest, for ever",
            action="package.publish",
            outcome="accepted",
            expects="some",
        ),
        Item("3.5.1", "contributions", "people's"),
        Item("3.6.1", "conformance is affirmed", "people's, every eighteen months"),
    ),
)

STANDARDS: Final[Mapping[StandardName, Standard]] = {"pci-dss": PCI_DSS, "openchain": OPENCHAIN}
