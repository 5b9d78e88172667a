"""What happened in a drill, when, and whether it was right; readable while it goes on."""

import time
from dataclasses import dataclass, field


@dataclass
class Protocol:
    """Lines with the seconds since it began; `wrong` are those that were not right."""

    began: float = field(default_factory=time.monotonic)
    wrong: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def part(self, title: str) -> None:
        """Another part of the day begins."""
        print(f"\n{title}", flush=True)

    def say(self, what: str) -> None:
        print(f"{self.seconds:7.1f} s    {what}", flush=True)

    def check(self, right: bool, what: str, found: object = "") -> None:
        """Say what had to be right; `found` is told where it was not."""
        if right:
            print(f"{self.seconds:7.1f} s  ✓ {what}", flush=True)
            return
        self.wrong.append(what)
        print(f"{self.seconds:7.1f} s  ✗ {what}: {found}", flush=True)
