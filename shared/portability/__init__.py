# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where programs could run: tables of what kernels have, and the judgement of one program."""
