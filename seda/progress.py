"""How long work is told to whoever watches; drawing it belongs to the command line."""

from typing import Protocol


class Progress(Protocol):
    """Somewhere to show progress: a stage begins, then advances until its total is reached."""

    def start(self, title: str, total: int) -> None:
        """A new stage of `total` steps; the one before it is over."""

    def advance(self, n: int) -> None:
        """`n` more steps of the stage are done."""


class SilentProgress:
    """Shows nothing."""

    def start(self, title: str, total: int) -> None:
        pass

    def advance(self, n: int) -> None:
        pass
