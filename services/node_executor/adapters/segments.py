# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The segments of one generation in the kernel: emitted, loaded, joined by their program array.

The array is full before anybody else sees the head, so no packet can find a segment missing.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.btf_merge import JoinedTypes
from services.node_executor.adapters.kernel_errors import KernelFaultError, VerifierRejectedError
from services.node_executor.adapters.loaded_body import LoadedBody
from services.node_executor.adapters.program_array import fill_program_array, make_program_array
from services.node_executor.adapters.programs import LoadAttempt, explain, try_loading
from services.node_executor.adapters.verifier_log import read_verifier_log
from services.node_executor.kernel_types import LoadedMap
from services.node_executor.linking.emission import emit
from services.node_executor.linking.feedback import Difficulty
from services.node_executor.linking.linked_program import LinkedProgram
from services.node_executor.linking.plan import LinkPlan

_NAME_CHARACTERS: Final = 15
_TOO_LARGE: Final = re.compile(r"BPF program is too large|too many states|too many subprograms")
_TOO_MUCH_STACK: Final = re.compile(
    r"combined stack size|the call stack of \d+ frames is too deep"
    r"|call stack of previous frames is \d+ bytes"
)
_TOO_MANY_JUMPS: Final = re.compile(r"The sequence of \d+ jumps is too complex")


class HardSegmentError(Exception):
    """The verifier gives up on a segment whose bodies verify alone; another plan may load."""

    def __init__(self, segment: int, difficulty: Difficulty, name: str, log: str) -> None:
        super().__init__(f"segment {segment}: {difficulty}")
        self.segment: Final = segment
        self.difficulty: Final = difficulty
        self._name: Final = name
        self._log: Final = log

    @property
    def words(self) -> str:
        """The verifier's last."""
        return read_verifier_log(self._log).error

    def rejection(self, *, body: str, position: int) -> VerifierRejectedError:
        """What to say when nothing else is left to try: the segment is that body alone."""
        return VerifierRejectedError(
            body, f"the linked chain {self._name}", self._log, path=f"chain[{position}] {body}"
        )


class TypesRefusedError(Exception):
    """The kernel does not take the joined BTF of the chain's objects."""


class LoadedSegments:
    """The programs of one generation; closing gives them up, and the array with them."""

    def __init__(
        self,
        segments: tuple[Descriptor, ...],
        program_array: Descriptor | None,
        resources: ExitStack,
    ) -> None:
        self.segments: Final = segments
        self.program_array: Final = program_array
        self._resources: Final = resources

    def close(self) -> None:
        """Give everything up; a second call does nothing."""
        self._resources.close()


class Emitted:
    """Programs that are ready to be loaded, and the array that they name."""

    def __init__(
        self, programs: tuple[LinkedProgram, ...], program_array: Descriptor | None
    ) -> None:
        self.programs: Final = programs
        self.program_array: Final = program_array


class SegmentLoader:
    """Loads the segments of one chain's plans."""

    def __init__(
        self,
        bodies: Sequence[LoadedBody],
        name: str,
        *,
        counters: LoadedMap | None,
        interface_index: int,
    ) -> None:
        """`name` is what tools show; segments after the head have their number behind it."""
        self._bodies: Final = bodies
        self._name: Final = name
        self._counters_fd: Final = counters.handle.fd if counters else 0
        self._interface_index: Final = interface_index

    def emit(self, plan: LinkPlan) -> Emitted:
        """The programs of the plan; with several segments, beside an empty array for them."""
        count = len(plan.segments)
        array = make_program_array(count) if count > 1 else None
        with ExitStack() as undo:
            if array is not None:
                undo.enter_context(array)
            programs = emit(
                plan,
                counters_fd=self._counters_fd,
                program_array_fd=array.fd if array is not None else 0,
            )
            undo.pop_all()
        return Emitted(programs, array)

    def load(self, emitted: Emitted) -> LoadedSegments:
        """Every segment, and the array filled.

        Raises:
            HardSegmentError: the verifier gives up on a segment.
            TypesRefusedError: the kernel takes no BTF made of these objects.
            VerifierRejectedError: it refuses one for another reason.
            KernelFaultError: the kernel failed.
        """
        with ExitStack() as resources:
            array = emitted.program_array
            if array is not None:
                resources.enter_context(array)
            segments = tuple(
                resources.enter_context(self._load(program, index))
                for index, program in enumerate(emitted.programs)
            )
            if array is not None:
                fill_program_array(array, segments)
            return LoadedSegments(segments, array, resources.pop_all())

    def _load(self, program: LinkedProgram, index: int) -> Descriptor:
        if program.unchanged_body is not None:
            original = self._bodies[program.unchanged_body]
            if original.is_loaded_as(program.licence, has_frags=program.has_frags):
                return Descriptor(os.dup(original.program.fd))
        if not program.functions:
            return self._attempt(program, None, index)
        try:
            types = JoinedTypes(program, self._bodies)
        except KernelFaultError as error:
            if error.number == errno.EINVAL:
                raise TypesRefusedError from error
            raise
        with types.descriptor:
            return self._attempt(program, types, index)

    def _attempt(self, program: LinkedProgram, types: JoinedTypes | None, index: int) -> Descriptor:
        suffix = f"_{index}" if index else ""
        name = self._name[: _NAME_CHARACTERS - len(suffix)] + suffix
        attempt = try_loading(program, types, name=name, interface_index=self._interface_index)
        if attempt.program is not None:
            return attempt.program
        difficulty = _difficulty(attempt)
        if difficulty is not None:
            raise HardSegmentError(index, difficulty, name, attempt.log)
        raise explain(
            program,
            types,
            attempt,
            name=name,
            interface_index=self._interface_index,
            bodies=self._bodies,
        )


def _difficulty(attempt: LoadAttempt) -> Difficulty | None:
    """Why another plan may load; None: none would."""
    if attempt.failure == errno.EFAULT and _TOO_MANY_JUMPS.search(attempt.log):
        return "too-many-jumps"
    if attempt.failure == errno.E2BIG and _TOO_LARGE.search(attempt.log):
        return "too-large"
    if _TOO_MUCH_STACK.search(attempt.log):
        return "too-much-stack"
    return None
