# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Bills of materials: what a package is made of, in the two formats that others read."""
