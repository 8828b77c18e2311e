// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that remember packets in maps, one kind of map each, or are told by one what to do.

#include "maps.h"
