"""Shows progress: a moving bar in a terminal, a line per stage everywhere else."""

import sys
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class ShownProgress:
    """A context manager that implements `seda.progress.Progress`."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            console=Console(file=sys.stdout),
            disable=not self._live,
        )
        self._stage: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, title: str, total: int) -> None:
        """A new stage of `total` steps; the one before it is over."""
        if not self._live:
            typer.echo(f"  {title}: {total:,}")
        self._stage = self._bars.add_task(title, total=max(total, 1), completed=int(total == 0))

    def advance(self, n: int) -> None:
        """`n` more steps of the stage are done."""
        if self._stage is not None:
            self._bars.advance(self._stage, n)
