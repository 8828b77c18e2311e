# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What programs require of the real kernel: named where it is missing, asked nothing in vain."""

from __future__ import annotations

import subprocess
from pathlib import Path
from time import monotonic

from demo.small_package import write_package
from demo.stage import Stage

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
char _license[] SEC("license") = "Dual BSD/GPL";
"""
OF_ANOTHER_TYPE = """
SEC("xdp") int reads_skb(struct xdp_md *ctx)
{
	__u8 byte = 0;
	bpf_skb_load_bytes(ctx, 0, &byte, 1);
	return byte ? XDP_PASS : XDP_DROP;
}
"""
ASKS_FIRST = """
enum bpf_func_id___future { BPF_FUNC_of_the_future___future = 4000 };
static long (*of_the_future)(void *) = (void *)4000;
SEC("xdp") int asks_first(struct xdp_md *ctx)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id___future, BPF_FUNC_of_the_future___future))
		of_the_future(ctx);
	return XDP_PASS;
}
"""
DEADLINE_SECONDS = 60.0
LACK = "has no helper bpf_skb_load_bytes (26) for XDP programs"


def _document(system: Stage, package: str, *, interfaces: str = "data0", more: str = "") -> str:
    text = (
        f'name = "{package}"\npackage = "{package}"\nhook = "xdp"\norder = 70\n'
        f'interfaces = ["{interfaces}"]\n[nodes]\nnames = ["host-1"]\n{more}'
    )
    return str(system.document(f"{package}.toml", text))


def test_a_helper_that_the_kernel_does_not_have_is_named_before_anything_is_loaded(
    system: Stage, tmp_path: Path
) -> None:
    """By the scheduler, for a dry run as for the deployment; the node is not asked."""
    folder = write_package(tmp_path, name="reads-skb", source=HEAD + OF_ANOTHER_TYPE)
    system.must("package", "publish", str(folder))
    path = _document(system, "reads-skb")

    for arguments in ((path, "--dry-run"), (path,)):
        answer = system.l3af("deploy", *arguments)
        assert (answer.status, answer.output["code"]) == (2, "no_eligible_node"), answer
        assert LACK in str(answer.output["reasons"])
    assert not system.must("status")["deployments"]


def test_a_call_that_the_program_asks_about_first_excludes_no_kernel(
    system: Stage, tmp_path: Path
) -> None:
    """The verifier never walks to a helper that no kernel has."""
    folder = write_package(tmp_path, name="asks-first", source=HEAD + ASKS_FIRST)
    system.must("package", "publish", str(folder))

    system.must("deploy", _document(system, "asks-first"))

    (place,) = system.must("status", "asks-first")["places"]
    assert place["state"] == "running"
    system.must("undeploy", "asks-first")


def test_an_interface_whose_driver_has_no_native_xdp_is_named(system: Stage) -> None:
    """A bridge runs XDP behind the driver only."""
    host = system.lab.hosts[0]
    subprocess.run(host.command("ip", "link", "add", "slow0", "type", "bridge"), check=True)
    deadline = monotonic() + DEADLINE_SECONDS
    while "slow0" not in str(system.must("node", "show", "host-1")["record"]["interfaces"]):
        assert monotonic() < deadline, "the node does not see its new interface"
    more = '[link]\nattach = "native"\n'
    path = _document(system, "port-count", interfaces="slow0", more=more)

    answer = system.l3af("deploy", path, "--dry-run")

    assert (answer.status, answer.output["code"]) == (2, "no_eligible_node"), answer
    assert "slow0's driver bridge has no native XDP and attach = native" in str(answer.output)
    both = _document(system, "port-count", interfaces="*0", more=more)
    plan = system.must("deploy", both, "--dry-run")
    assert "slow0" not in {chain["interface"] for chain in plan["chains"]}
    assert "slow0's driver bridge has no native XDP" in str(plan["excluded"])
