# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a new package: they build, pass their test and can be published as they are.

Pure.  The files carry the licence of first-party kernel code; authors put their own names in.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Final

from cli.probe_templates import (
    PROBE_DEPLOYMENT,
    PROBE_README,
    PROBE_SOURCE,
    PROBE_SUMMARY,
    PROBE_TOML,
    PROBES,
)
from shared.identifiers import Hook, is_probe

LICENCES: Final = ("GPL-2.0-only", "BSD-2-Clause")
EXPRESSION: Final = " OR ".join(LICENCES)
VERSION: Final = "1.0.0"

_TAG: Final = "SPDX-License-Identifier"
"""Put in later, so that tools do not take a template's tag for this file's."""
_TAKEN: Final = frozenset(
    (
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else"),
        *("enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register"),
        *("restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch"),
        *("typedef", "union", "unsigned", "void", "volatile", "while", "asm", "typeof"),
        *("blocked", "dropped", "events", "main", "linux", "unix"),
    )
)
"""Names that a function of the template cannot have."""

_VERDICTS: Final[dict[Hook, dict[str, str]]] = {
    "xdp": {
        "section": "xdp",
        "context": "xdp_md",
        "go_on": "XDP_PASS",
        "stop": "XDP_DROP",
        "goes_on": "pass",
        "stops": "drop",
        "headers": "",
    },
    "tc-ingress": {
        "section": "tcx/ingress",
        "context": "__sk_buff",
        "go_on": "TC_ACT_UNSPEC",
        "stop": "TC_ACT_SHOT",
        "goes_on": "unspec",
        "stops": "shot",
        "headers": "#include <linux/pkt_cls.h>\n",
    },
    "tc-egress": {
        "section": "tcx/egress",
        "context": "__sk_buff",
        "go_on": "TC_ACT_UNSPEC",
        "stop": "TC_ACT_SHOT",
        "goes_on": "unspec",
        "stops": "shot",
        "headers": "#include <linux/pkt_cls.h>\n",
    },
}

_SUMMARY: Final = Template("Drops TCP packets for the ports that its configuration names")

_HEAD: Final = Template("""\
# $tag: $expression

[package]
name = "$name"
version = "$version"
summary = "$summary"
licence = "$expression"
${owners}${source}
[needs]
kernel = ">=5.15"

[[programs]]
name = "$name"
source = "$symbol.bpf.c"
function = "$symbol"
hooks = ["$hook"]
""")
"""Of every package's manifest."""

_TOML: Final = Template("""\
${head}order = 500                     # where in a chain, 0 to 1000, if the deployment does not say

[maps.blocked]
summary = "Ports that get nothing"
key = "TCP destination port"
value = "1"
key_minimum = 1
key_maximum = 65535
value_minimum = 1
value_maximum = 1

[metrics.dropped]
map = "dropped"
unit = "packets"
summary = "TCP packets that were dropped"

[[test]]
name = "a blocked port gets nothing, other packets go on"
config.blocked = { 23 = 1 }
packets = [
    { packet = "ipv4 / tcp dport=23 syn", verdict = "$stops" },
    { packet = "ipv4 / tcp dport=80 syn", verdict = "$goes_on" },
    { packet = "ipv4 / udp dport=23", verdict = "$goes_on" },
    { packet = "ipv6 / tcp dport=23 syn", verdict = "$goes_on" },
]
maps.dropped = { 0 = 1 }
metrics = { dropped = 1 }
""")

_SOURCE: Final = Template("""\
// $tag: $expression
//
// Drops TCP packets over IPv4 for blocked destination ports.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
${headers}#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Destination port (a plain number, as 23) to 1. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, __u8);
	__uint(max_entries, 1024);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} dropped SEC(".maps");

SEC("$section")
int $symbol(struct $context *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp;
	__u32 first = 0;
	__u64 *count;
	__u16 port;

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return $go_on;
	if (ip->protocol != IPPROTO_TCP || ip->ihl < 5)
		return $go_on;
	tcp = (void *)ip + ip->ihl * 4;
	if ((void *)(tcp + 1) > end)
		return $go_on;
	port = bpf_ntohs(tcp->dest);
	if (!bpf_map_lookup_elem(&blocked, &port))
		return $go_on;
	count = bpf_map_lookup_elem(&dropped, &first);
	if (count)
		(*count)++;
	return $stop;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
""")

_README: Final = Template("""\
<!-- $tag: $expression -->

# $name

Drops TCP packets over IPv4 for the destination ports that the map `blocked` names.

    l3af package test .         # builds it, and runs its packets through this machine's kernel
    l3af package lint .         # what publication would refuse, and what to better
    l3af package publish .
    l3af deploy deployment.toml
    l3af dev . deployment.toml  # builds, tests and deploys again whenever a file changes
""")

_DEPLOYMENT: Final = Template("""\
# $tag: $expression

name = "$name"
package = "$name"
version = "*"
hook = "$hook"
interfaces = ["eth0"]

[config.blocked]
23 = 1
""")


def package_files(
    name: str, hook: Hook, *, owners: Sequence[str] = (), repository: str = ""
) -> dict[str, str]:
    """Path to text of everything but the licence texts."""
    symbol = name.replace("-", "_")
    if symbol[0].isdigit() or symbol in _TAKEN:
        symbol = f"program_{symbol}"
    words = {
        "name": name,
        "symbol": symbol,
        "hook": hook,
        "version": VERSION,
        "expression": EXPRESSION,
        "tag": _TAG,
        "owners": _owners(owners),
        "source": _source(repository),
    }
    summary, toml, source = _SUMMARY, _TOML, _SOURCE
    readme, deployment = _README, _DEPLOYMENT
    if is_probe(hook):
        words |= PROBES[hook]
        words["What"] = words["what"].capitalize()
        summary, toml, source = PROBE_SUMMARY, PROBE_TOML, PROBE_SOURCE
        readme, deployment = PROBE_README, PROBE_DEPLOYMENT
    else:
        words |= _VERDICTS[hook]
    words["summary"] = summary.substitute(words)
    words["head"] = _HEAD.substitute(words)
    return {
        "package.toml": toml.substitute(words),
        f"{symbol}.bpf.c": source.substitute(words),
        "README.md": readme.substitute(words),
        "deployment.toml": deployment.substitute(words),
    }


def _owners(owners: Sequence[str]) -> str:
    """The line of `package.toml`; without owners one to be filled in."""
    if not owners:
        return '# owners = ["name or team <mail@example.org>"]   # who answers for the code\n'
    return f"owners = [{', '.join(_quoted(owner) for owner in owners)}]\n"


def _source(repository: str) -> str:
    """The same of where the sources are kept."""
    begin = "" if repository else "# "
    repository = repository or "https://example.org/repository.git"
    return f'{begin}source = {{ repository = {_quoted(repository)}, revision = "v{VERSION}" }}\n'


def _quoted(text: str) -> str:
    """As a TOML string; of the characters that owners and repositories may have, two need care."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
