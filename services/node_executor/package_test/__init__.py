# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of one package through this machine's kernel, in a process of its own.

`python -m services.node_executor.package_test` takes one `RunPackageTests` as JSON on its standard
input and answers with one `PackageTested`.  It needs no bus and touches no hook.
"""
