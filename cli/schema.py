# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the contract where reviewers and clients find it: JSON Schemas, and a page to read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from cli.api_page import api_page
from cli.deployment_document import DeploymentDocument
from cli.deployment_files import DeploymentsDocument
from cli.package_source import PackageSource
from cli.policy_document import RolloutPolicyDocument
from cli.watch_document import WatchRulesDocument
from shared.contract_schema import contract_document, message_schemas, render_schema
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_tests import PackageTests

ROOT: Final = Path(__file__).parent.parent
SNAPSHOT: Final = ROOT / "tests" / "snapshots" / "contracts.v1.json"
API_PAGE: Final = ROOT / "docs" / "api.md"
SCHEMAS_DIR: Final = ROOT / "docs" / "schemas"
WRITTEN_DOCUMENTS: Final[dict[str, type]] = {
    "deployment": DeploymentDocument,
    "deployments": DeploymentsDocument,
    "rollout-policy": RolloutPolicyDocument,
    "watch-rules": WatchRulesDocument,
    "package.toml": PackageSource,
    "package.manifest": PackageManifest,
    "package.tests": PackageTests,
}
"""What operators and a package's author write, and a build makes of it, for editors and for other
tools."""


def schema_files() -> dict[Path, str]:
    """Every file that follows from the contract, and what it holds."""
    document = contract_document()
    files = {SNAPSHOT: render_schema(document), API_PAGE: api_page(document)}
    for name, kind in WRITTEN_DOCUMENTS.items():
        files[SCHEMAS_DIR / f"{name}.json"] = render_schema(msgspec.json.schema(kind))
    for name, schema in message_schemas().items():
        plain = name.translate(str.maketrans("", "", "{}$"))
        files[SCHEMAS_DIR / f"{plain}.json"] = render_schema(schema)
    return files


def main() -> None:
    """The files are as the code says, and no others lie beside the schemas."""
    files = schema_files()
    SCHEMAS_DIR.mkdir(parents=True, exist_ok=True)
    SNAPSHOT.parent.mkdir(parents=True, exist_ok=True)
    for stale in set(SCHEMAS_DIR.glob("*.json")) - set(files):
        stale.unlink()
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
