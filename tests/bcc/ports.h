// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#pragma once
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/udp.h>

// The UDP destination port of an IPv4 packet; 0: it has none.
static inline u16 udp_port(void *data, void *end)
{
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct udphdr *udp = (void *)(ip + 1);

    if ((void *)(udp + 1) > end || ethernet->h_proto != htons(ETH_P_IP))
        return 0;
    if (ip->protocol != 17 || ip->ihl != 5)
        return 0;
    return ntohs(udp->dest);
}
