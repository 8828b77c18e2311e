# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One module per claim of speed or size; `python -m benchmarks.NAME --json` prints one object."""
