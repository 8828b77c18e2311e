// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// For bcc: drops UDP packets to ports that are closed, and counts what it saw.
#define BPF_LICENSE Dual BSD/GPL
#include <uapi/linux/bpf.h>
#include <uapi/linux/pkt_cls.h>
#include "ports.h"

struct seen {
    u64 packets;
    u32 last_bytes;
    u16 first_words[3];
};

BPF_HASH(closed, u16, u8, 64);
BPF_PERCPU_ARRAY(dropped, u64, 1);
BPF_HASH(ports, u16, struct seen, 256);
BPF_PROG_ARRAY(next, 4);

int port_gate(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    u16 port = udp_port(data, end);
    struct seen none = {}, *seen;
    int zero = 0;

    if (!port)
        return XDP_PASS;
    seen = ports.lookup_or_try_init(&port, &none);
    if (seen) {
        lock_xadd(&seen->packets, 1);
        seen->last_bytes = end - data;
    }
    if (closed.lookup(&port)) {
        dropped.increment(zero);
        return XDP_DROP;
    }
    next.call(ctx, 0);
    return XDP_PASS;
}

int port_mark(struct __sk_buff *skb)
{
    skb->mark = 0x1ee7;
    return TC_ACT_OK;
}
