# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reports from the log: asked for by somebody, or made by a plan.

`distribution` and its neighbours say what a report holds.
"""
