# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which labels a node carries, and whether they are those that are asked for.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.contracts.node import NodeRecord
from shared.contracts.scheduler import NodeLabels
from shared.contracts.selectors import LabelRule, NodeSelector
from shared.errors import Reason


def effective_labels(record: NodeRecord, labels: NodeLabels | None) -> dict[str, str]:
    """The node's own labels, and over them those that operators set."""
    return {**record.labels, **(labels.labels if labels else {})}


def label_mismatch(selector: NodeSelector, labels: Mapping[str, str]) -> str | None:
    """The first thing asked of labels that these do not meet; None: they meet all."""
    for key, wanted in sorted(selector.labels.items()):
        if key not in labels:
            return f"it has no label {key}"
        if labels[key] != wanted:
            return f"its label {key} is {labels[key]}, not {wanted}"
    for rule in selector.rules:
        if not _holds(rule, labels):
            return _broken(rule, labels)
    return None


def rule_problems(selector: NodeSelector, *, path: str) -> list[Reason]:
    """Every rule that cannot mean anything, with its path."""
    problems = []
    for index, rule in enumerate(selector.rules):
        at = f"{path}.rules[{index}].values"
        if rule.operator in ("in", "not-in") and not rule.values:
            problems.append(Reason(path=at, rule=f"{rule.operator} needs at least one value"))
        if rule.operator in ("exists", "not-exists") and rule.values:
            problems.append(Reason(path=at, rule=f"{rule.operator} takes no values"))
    return problems


def rule_text(rule: LabelRule) -> str:
    """The rule as one reads it."""
    if not rule.values:
        return f"{rule.label} {rule.operator}"
    return f"{rule.label} {rule.operator} {', '.join(rule.values)}"


def _holds(rule: LabelRule, labels: Mapping[str, str]) -> bool:
    if rule.operator in ("exists", "not-exists"):
        return (rule.label in labels) == (rule.operator == "exists")
    is_in = rule.label in labels and labels[rule.label] in rule.values
    return is_in == (rule.operator == "in")


def _broken(rule: LabelRule, labels: Mapping[str, str]) -> str:
    if rule.label not in labels:
        return f"it has no label {rule.label}"
    return f"its label {rule.label} is {labels[rule.label]}, and must be {rule_text(rule)}"
