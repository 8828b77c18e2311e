# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long records are kept, what is held whatever its age, and what remains of a record after.

Until somebody sets rules, everything is kept for ever.
"""
