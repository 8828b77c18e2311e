// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What an XDP and a TC version of one program differ in; IS_TC chooses.

#ifndef FAMILY_H
#define FAMILY_H

#include "corpus.h"

#ifdef IS_TC
#define PROGRAM TC
#define CONTEXT struct __sk_buff
#define ON TC_ACT_OK
#define ASIDE TC_ACT_PIPE
#define DROP TC_ACT_SHOT
#define BROKEN TC_ACT_TRAP
#else
#define PROGRAM XDP
#define CONTEXT struct xdp_md
#define ON XDP_PASS
#define ASIDE XDP_TX
#define DROP XDP_DROP
#define BROKEN XDP_ABORTED
#endif

#endif
