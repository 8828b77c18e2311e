# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From C source for bcc to an object file like a compiled one, so that one loader takes both.

Pure.  What compiles is `adapters/bcc_compile.py`, a program of its own.
"""
