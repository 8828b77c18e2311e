// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs with functions, callbacks, global data, atomic operations and a lock.

#define IS_TC
#include "calls.h"
