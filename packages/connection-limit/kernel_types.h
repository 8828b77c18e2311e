// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The parts of the kernel's types that are read; libbpf finds them by name in the running kernel.

#ifndef L3AF_KERNEL_TYPES_H
#define L3AF_KERNEL_TYPES_H

#include <linux/bpf.h>
#include <linux/in6.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define RELOCATED __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} RELOCATED;

struct net {
	struct ns_common ns;
} RELOCATED;

typedef struct {
	struct net *net;
} RELOCATED possible_net_t;

struct sock_common {
	unsigned short skc_family;
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_num;		/* local port, a plain number */
	__u16 skc_dport;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
} RELOCATED;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
} RELOCATED;

struct net_device {
	possible_net_t nd_net;
} RELOCATED;

struct xdp_rxq_info {
	struct net_device *dev;
} RELOCATED;

struct xdp_buff {
	struct xdp_rxq_info *rxq;
} RELOCATED;

/* Linux 6.2: the kernel's own form of the context. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

/* include/trace/events/sock.h, TRACE_EVENT(inet_sock_set_state), as far as it is read */
struct socket_state {
	__u64 common;
	struct sock *socket;
	int before;
	int after;
};

/* Inode number of the network namespace that the packet came in. */
static __always_inline __u32 own_netns(struct xdp_md *ctx)
{
	struct xdp_buff *buffer = bpf_cast_to_kern_ctx(ctx);

	return buffer->rxq->dev->nd_net.net->ns.inum;
}

static __always_inline __u32 netns_of(struct sock *socket)
{
	return BPF_CORE_READ(socket, __sk_common.skc_net.net, ns.inum);
}

#endif
