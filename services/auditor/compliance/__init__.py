# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the log says of compliance: findings, from when they opened to what closed them.

Nothing is kept of it: every answer follows from the records that are there.
"""
