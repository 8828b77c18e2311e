# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a package was built: in-toto statements with SLSA provenance, made and verified."""
