# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where the log's heads go: to witnesses, to the bus, and into files that any tool reads.

All of it happens beside the recording, and none of it may hold the recording up.  What comes back
is compared: a head that somebody remembers and that the log does not hold ends the process.
"""
