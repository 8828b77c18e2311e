# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From C source for bcc to an object file like a compiled one, so that one loader takes both.

`compile_source.py` runs under the distribution's Python, in a child process that gave up what it
does not need; the other modules are pure.
"""
