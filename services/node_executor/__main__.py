# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Starts one node executor: `python -m services.node_executor`."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from time import monotonic

from services.node_executor.adapters.artifact_cache import ArtifactCache
from services.node_executor.adapters.assembly import (
    Grounds,
    Machine,
    Workshop,
    assembled,
    now_text,
    utc_now,
)
from services.node_executor.adapters.bcc_sources import SourceCompiler
from services.node_executor.adapters.bcc_toolchain import ToolchainProbe
from services.node_executor.adapters.capabilities import KernelCapabilities
from services.node_executor.adapters.companion_files import CompanionFiles
from services.node_executor.adapters.companion_line import supervisor_line
from services.node_executor.adapters.compilation_cache import CompilationCache
from services.node_executor.adapters.grace_periods import ExpeditedGracePeriods
from services.node_executor.adapters.hook_points import HookPointKernel
from services.node_executor.adapters.host_programs import HostPrograms
from services.node_executor.adapters.inventory import Inventory, read_boot_id, seconds_since_boot
from services.node_executor.adapters.kernel_facts import own_platform
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.adapters.link_monitor import LinkMonitor
from services.node_executor.adapters.linker import link
from services.node_executor.adapters.metrics_endpoint import MetricsEndpoint
from services.node_executor.adapters.netlink import Netlink
from services.node_executor.adapters.network_namespaces import names, no_names
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.package_verification import PackageVerification
from services.node_executor.adapters.packet_runner import PacketRunner
from services.node_executor.adapters.processor_time import read_processor_time
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.adapters.state_waiting import open_when_free
from services.node_executor.adapters.trust_keeper import TrustKeeper
from services.node_executor.adapters.unmanaged_programs import UnmanagedPrograms
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.changes import HookPoints
from services.node_executor.companion_set import CompanionNode
from services.node_executor.config import (
    NodeExecutorConfig,
    check_bpffs_dir,
    check_labels,
    check_listen,
)
from services.node_executor.event_tally import EventTally
from services.node_executor.events import pins_restored_body
from services.node_executor.execution import Steps
from services.node_executor.l3afd_names import L3afdCounts
from services.node_executor.map_reading import MapReading
from services.node_executor.trials import Trials
from shared.adapters import lifecycle
from shared.adapters.logs import configure_logs
from shared.config import load_config
from shared.contracts.events import PUBLIC, Event
from shared.moments import render_time


def _moment(boot_seconds: float) -> str:
    """When that many seconds have passed since the kernel started, to the second."""
    away = timedelta(seconds=boot_seconds - seconds_since_boot())
    return render_time((utc_now() + away).replace(microsecond=0))


async def main(stop: asyncio.Event) -> None:
    """Runs until `stop` is set."""
    config = load_config(NodeExecutorConfig, os.environ, prefix="NODE_EXECUTOR_")
    configure_logs(service="node_executor", level=config.log_level)
    labels, listen = check_labels(config.labels), check_listen(config.metrics_listen)
    async with AsyncExitStack() as held:
        thread = KernelThread()
        bus = NodeBus(config.credentials_dir)
        loop, journaled = asyncio.get_running_loop(), asyncio.Queue[Event]()
        l3afd = L3afdCounts() if config.l3afd_names else None
        tally = EventTally()

        def on_event(event: Event) -> None:
            journaled.put_nowait(event)
            tally.note(event)
            if l3afd is not None and event.audience == PUBLIC:
                l3afd.note(event.data, at_seconds=utc_now().timestamp())

        open_state = partial(
            StateStore.open,
            config.state_dir / "state.sqlite",
            emitter=f"node/{bus.name}",
            now=now_text,
            new_salt=lambda: secrets.token_bytes(16),
            on_event=lambda event: loop.call_soon_threadsafe(on_event, event),
            max_bytes=config.journal_bytes,
        )
        store = await open_when_free(partial(thread, open_state), stop)
        held.callback(store.close)
        held.callback(thread.close)
        named = names if config.named_namespaces else no_names
        # pyroute2 brings its own event loop, one for each thread.
        base = check_bpffs_dir(config.bpffs_dir) / bus.name
        netlink = await thread(Netlink, base, named=named)
        held.push_async_callback(thread, netlink.close)
        waits = ExpeditedGracePeriods(
            config.state_dir / "expedited-grace-periods", is_allowed=config.expedited_grace_periods
        )
        kernel = await thread(
            HookPointKernel,
            base,
            short_waits=waits,
            on_pins_restored=lambda pins: store.journal(
                [(secrets.token_hex(32), pins_restored_body(node=bus.name, pins=pins))]
            ),
        )
        journal = ChainJournal(
            node=bus.name,
            start=secrets.token_hex(16),
            boot_id=read_boot_id(),
            store=store,
            offline_mode=config.offline_mode,
        )
        points = HookPoints(
            kernel=kernel,
            steps=Steps(kernel),
            journal=journal,
            clock=seconds_since_boot,
            orphans=config.orphans,
        )
        trust = TrustKeeper(
            node=bus.name,
            trust_root=bus.trust_root,
            mode=config.trust_mode,
            thread=thread,
            store=store,
        )
        await trust.open()
        disk = KernelThread()
        held.callback(disk.close)
        compilers = ToolchainProbe(config.bcc_python)
        runner, boot_id = PacketRunner(), read_boot_id()
        folder = config.state_dir / "companions"
        shop = Workshop(
            Grounds(
                bus=bus,
                thread=thread,
                disk=disk,
                kernel=kernel,
                steps=Steps(kernel),
                counters=runner,
                store=store,
                journal=journal,
                points=points,
                trust=trust,
                cache=ArtifactCache(config.state_dir / "artifacts", max_bytes=config.cache_bytes),
                compiler=SourceCompiler(
                    node=bus.name,
                    thread=thread,
                    probe=compilers,
                    cache=CompilationCache(config.state_dir / "compilations"),
                ),
                link=link,
                companions=CompanionNode(bus.name, own_platform(), folder),
                companion_files=CompanionFiles(folder),
                supervisor=supervisor_line(config.companions_socket),
                listener=supervisor_line(config.companions_socket),
                boot_id=boot_id,
                uptime=seconds_since_boot,
                moment=_moment,
            )
        )
        host = HostPrograms(
            node=bus.name,
            base=base,
            boot_id=boot_id,
            points=points,
            staged=shop.staging,
        )
        unmanaged = UnmanagedPrograms(
            node=bus.name,
            boot_id=boot_id,
            base=base,
            path=config.state_dir / "programs.json",
            host=host,
            journal=store,
            thread=thread,
            policy=config.unmanaged,
        )
        machine = Machine(
            inventory=Inventory(
                node=bus.name,
                labels=labels,
                offline_mode=config.offline_mode,
                trust_mode=config.trust_mode,
                netlink=netlink,
                compilers=compilers,
                capabilities=KernelCapabilities(
                    config.state_dir / "capabilities.json", boot_id=boot_id, thread=thread
                ),
                own_programs=host.own_programs,
                companions=shop.keeper,
                now=now_text,
            ),
            host=host,
            maps=MapReading(node=bus.name, points=points, contents=kernel),
            trials=Trials(
                node=bus.name,
                points=points,
                preparer=shop.preparer,
                kernel=kernel,
                runner=runner,
                drafts=shop.drafts,
                thread=thread,
                clock=monotonic,
            ),
            links=LinkMonitor(first=netlink.forget, named=named),
            metrics=MetricsEndpoint(
                node=bus.name,
                thread=thread,
                sampler=shop.sampler,
                readers=shop.readers,
                companions=shop.companions.usage,
                l3afd=l3afd,
            ),
            listen=listen,
            verification=PackageVerification(
                bus=bus,
                archives=shop.archives,
                thread=disk,
                bcc_python=config.bcc_python,
                trust=trust.trust,
                now=now_text,
            ),
            processors=read_processor_time,
        )
        service, _ = assembled(
            shop,
            machine,
            journaled=journaled,
            tally=tally,
            offline_mode=config.offline_mode,
            period_seconds=config.period_seconds,
        )
        async with unmanaged.watched():
            await service.run(stop)


if __name__ == "__main__":
    lifecycle.run(main)
