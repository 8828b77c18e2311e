# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Node executors over kernels in memory, many in one process: everything but the kernel is real."""
