# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog decides what may run: which packages exist, in which versions, on whose word.

It answers `api.catalog.…` (write an archive, publish, list, get) for people and other systems, and
`int.catalog.…` (resolve a constraint, read an archive) for the scheduler and the nodes.
"""
