# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A year of an installation, made up by a seed, and what its log says by a second reading of it.

`history` makes the messages; `recomputed_*` read nothing but those, in plain dicts, and share no
code with the product.
"""
