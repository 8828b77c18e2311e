# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether two versions of a package are the same on one platform.

Pure.  What a node of a platform does with a package is decided by the bytes of the files that it
takes for that platform and by what the manifest says of programs, maps, variables, metrics, needs
and licences.  Names of versions, texts for people, sources, tests and other platforms' files
change nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.package_manifest import PackageManifest, PlatformKey

PLATFORMS: Final[tuple[str, ...]] = get_args(PlatformKey)
_SAYS_NOTHING: Final[Mapping[str, Any]] = {
    "version": "",
    "summary": "-",
    "owners": (),
    "source": None,
    "tests": None,
    "build": None,
    "files": (),
    "file_groups": {},
    "platforms": ("linux",),
}
"""Parts of a manifest that a node acts upon in no way."""


def artifact_digest(manifest: PackageManifest, platform: str) -> str:
    """Of all that a node of the platform takes from the package; empty: nothing is made for it.

    Args:
        manifest: With all files and their digests.
        platform: As `linux-x86_64`.
    """
    digests = {one.path: one.sha256 for one in manifest.files}
    objects = [one.object_on(platform) for one in manifest.programs]
    if platform.partition("-")[0] not in manifest.platforms or not any(objects):
        return ""
    companions = {
        name: {str(key): path for key, path in one.executables.items()}.get(platform, "")
        for name, one in manifest.companions.items()
    }
    taken = [path for path in (*objects, *companions.values()) if path]
    if any(path not in digests for path in taken):
        return ""
    spoken = msgspec.to_builtins(msgspec.structs.replace(manifest, **_SAYS_NOTHING))
    for program, path in zip(spoken["programs"], objects, strict=True):
        program |= {"object": path, "objects": {}}
    for name, companion in spoken.get("companions", {}).items():
        companion["executables"] = companions[name]
    return canonical_digest([spoken, {path: digests[path] for path in taken}])


def unchanged_platforms(before: PackageManifest, after: PackageManifest) -> tuple[str, ...]:
    """Platforms on which both are the same, in the order in which the contract names them."""
    return tuple(
        platform
        for platform in PLATFORMS
        if (digest := artifact_digest(after, platform))
        and digest == artifact_digest(before, platform)
    )
