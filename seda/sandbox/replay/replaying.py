"""Runs a replay: clients in processes of their own, moves from this one, figures at the end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seda.progress import Progress
from seda.sandbox.replay.client_processes import ClientProcesses
from seda.sandbox.replay.crowd import Crowd
from seda.sandbox.replay.expectation import compare, count_by_cell, expected_changes, hearing
from seda.sandbox.replay.figures import (
    Heard,
    Load,
    Report,
    delivery,
    latencies,
    violations,
)
from seda.sandbox.replay.intake import Intake
from seda.sandbox.replay.meters import Meters
from seda.sandbox.replay.schedule import Plan, Schedule
from seda.sandbox.replay.sending import Sending

PATIENCE_SECONDS: Final = 10.0
"""How long nothing may come before what is missing is lost."""


@dataclass(frozen=True, eq=False)
class Stage:
    """Where a replay takes place: the service, its people, the clients' tokens, the schedule.

    `viewers` are positions of people, one per client, `tokens` theirs. `watched` are process ids of
    the service by name, whose load is told beside ours.
    """

    url: str
    crowd: Crowd
    schedule: Schedule
    viewers: NDArray[np.int32]
    tokens: Sequence[str]
    processes: int = 1
    patience: float = PATIENCE_SECONDS
    watched: tuple[tuple[str, int], ...] = ()


def replay(stage: Stage, plan: Plan, intake: Intake, progress: Progress) -> Report:
    """Connect everybody, move people as scheduled, wait for what they hear.

    Raises:
        ReplayFailedError: a client is not let in or a process is lost.
    """
    rooms = [str(room) for room in stage.crowd.rooms]
    clients = ClientProcesses(stage.url, stage.tokens, rooms, stage.processes, progress)
    try:
        clients.wait_ready()
        return asyncio.run(_run(stage, plan, intake, clients, progress))
    finally:
        clients.end()


async def _run(
    stage: Stage, plan: Plan, intake: Intake, clients: ClientProcesses, progress: Progress
) -> Report:
    schedule, rooms = stage.schedule, len(stage.crowd.rooms)
    heard = hearing(stage.crowd.graph, stage.viewers)
    expected = expected_changes(heard, schedule, rooms)
    meters = Meters(clients.pids(), stage.watched)
    await intake.open()
    try:
        progress.start("Moves", len(schedule.at))
        sending = Sending(schedule, stage.crowd, intake, progress)
        meters.begin()
        await sending.run()
        loads = meters.end()
        progress.start("Waiting for the last messages", 1)
        await clients.drain(int(expected.sum()), stage.patience)
        progress.advance(1)
    finally:
        await intake.close()
    return _report(stage, plan, sending, clients.heard(), expected, loads)


def _report(
    stage: Stage,
    plan: Plan,
    sending: Sending,
    heard: Heard,
    expected: sparse.csr_array,
    loads: tuple[Load, ...],
) -> Report:
    told, toasts = heard.told, heard.toasts
    height, width = expected.shape
    delivered = count_by_cell(told.viewers, told.rooms, height, width, told.changes)
    closing_at = sending.started + plan.seconds
    return Report(
        plan=plan,
        clients=len(stage.viewers),
        people=len(stage.crowd.people),
        sent=sending.sent(),
        heard=heard,
        difference=compare(expected, delivered),
        delivery=delivery(heard, closing_at),
        toast_latency=latencies(toasts.arrived - toasts.at),
        most_toasts=int(np.bincount(toasts.viewers).max()) if len(toasts.viewers) else 0,
        caps_violated=violations(toasts),
        loads=loads,
    )
