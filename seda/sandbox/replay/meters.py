"""How much of a core each process uses meanwhile."""

import time
from collections.abc import Sequence

import psutil

from seda.sandbox.replay.figures import CLIENTS, INTAKE, Load


class Meters:
    """Processor time of this process, of the clients' and of the watched ones."""

    def __init__(self, clients: Sequence[int], watched: Sequence[tuple[str, int]]) -> None:
        named = [(INTAKE, psutil.Process())]
        named += [(CLIENTS, psutil.Process(pid)) for pid in clients]
        named += [(name, psutil.Process(pid)) for name, pid in watched]
        self._named = named

    def begin(self) -> None:
        """From now on."""
        self._began = time.monotonic()
        self._before = [_seconds(process) for _, process in self._named]

    def end(self) -> tuple[Load, ...]:
        """Until now."""
        took = time.monotonic() - self._began
        return tuple(
            Load(name, (_seconds(process) - before) / took)
            for (name, process), before in zip(self._named, self._before, strict=True)
        )


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
