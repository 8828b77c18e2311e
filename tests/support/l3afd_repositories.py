# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A repository as l3afd reads it, with programs in the style of its packages.

Sections have names of their own (`xdp_port_block`), maps give sizes and no types and are pinned by
name, the next program is called through a PROG_ARRAY, counters are entries that user space makes,
one object has programs of several types, and an executable of user space lies beside it.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.support.bpf_objects import compile_source

BLOCKED_PORT = 9000
XDP_OBJECT = "port_block.bpf.o"
TC_OBJECT = "tc_flow.bpf.o"
EXECUTABLE = "port_block"
_XDP = """
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define L3AF_MAP(name, kind, key, value, entries) \\
struct { \\
	__uint(type, kind); \\
	__uint(key_size, key); \\
	__uint(value_size, value); \\
	__uint(max_entries, entries); \\
	__uint(pinning, LIBBPF_PIN_BY_NAME); \\
} name SEC(".maps")

L3AF_MAP(pb_ports_map, BPF_MAP_TYPE_HASH, 2, 1, 50);
L3AF_MAP(pb_recv_count_map, BPF_MAP_TYPE_HASH, 8, 8, 1);
L3AF_MAP(pb_drop_count_map, BPF_MAP_TYPE_HASH, 8, 8, 1);
L3AF_MAP(xdp_pb_ingress_next_prog, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1);

static __always_inline int block(struct xdp_md *ctx)
{
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *iph = (void *)(eth + 1);
	struct tcphdr *tcph = (void *)(iph + 1);
	__u64 zero = 0, *count;
	__u16 port;

	if ((void *)(tcph + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (iph->protocol != IPPROTO_TCP || !tcph->syn)
		return XDP_PASS;
	count = bpf_map_lookup_elem(&pb_recv_count_map, &zero);
	if (count)
		(*count)++;
	port = bpf_ntohs(tcph->dest);
	if (!bpf_map_lookup_elem(&pb_ports_map, &port))
		return XDP_PASS;
	count = bpf_map_lookup_elem(&pb_drop_count_map, &zero);
	if (count)
		(*count)++;
	return XDP_DROP;
}

SEC("xdp_port_block")
int _xdp_port_block(struct xdp_md *ctx)
{
	int rc = block(ctx);

	if (rc == XDP_DROP)
		return XDP_DROP;
	bpf_tail_call(ctx, &xdp_pb_ingress_next_prog, 0);
	return XDP_PASS;
}

SEC("perf_event")
int watch_state(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
"""
_TC = """
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc_ingress_flow_monitoring")
int _tc_ingress(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
"""


@cache
def xdp_object() -> bytes:
    """Drops connections to the ports of a map, and counts."""
    return compile_source(_XDP)


@cache
def tc_object() -> bytes:
    """Lets everything pass."""
    return compile_source(_TC)


def artifact_files() -> dict[str, tuple[bytes, int]]:
    """What the artifact's folder holds: content and mode."""
    return {
        XDP_OBJECT: (xdp_object(), 0o644),
        TC_OBJECT: (tc_object(), 0o644),
        EXECUTABLE: (b"#!/bin/sh\n", 0o755),
    }


def tar_artifact(folder: str, files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """As `tar -czf` makes it."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        top = tarfile.TarInfo(folder)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)
        for name, (data, mode) in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))
    return held.getvalue()


def zip_artifact(folder: str, files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """As Windows makes it."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, _) in files.items():
            archive.writestr(f"{folder}/{name}", data)
    return held.getvalue()


def write_repository(root: Path) -> Path:
    """A repository with one package: two versions, one of them for two platforms and Windows."""
    held = tar_artifact("l3af_port_block", artifact_files())
    for place, name, data in (
        ("port_block/1.2/jammy", "l3af_port_block.tar.gz", held),
        ("port_block/1.2/focal", "l3af_port_block.tar.gz", held),
        ("port_block/1.2/Windows", "l3af_port_block.zip", zip_artifact("l3af_port_block", {})),
        ("port_block/latest/jammy", "l3af_port_block.tar.gz", held),
    ):
        (root / place).mkdir(parents=True)
        (root / place / name).write_bytes(data)
    return root
