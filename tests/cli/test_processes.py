"""The supervisor leaves no process behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from seda.cli import leftovers
from seda.cli.processes import AlreadyRunningError, Service, ServiceFailedError, Supervisor
from tests.cli.cli_runs import clean_environment

TOY = Path(__file__).with_name("toy_supervisor.py")


class Toy:
    """A running toy supervisor; `family` is every process below it."""

    def __init__(self, home: Path, kind: str, *, in_background: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, TOY, home, kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
            start_new_session=True,
            preexec_fn=_ignore_interrupts if in_background else None,
        )
        assert self.process.stdout
        self.family: list[psutil.Process] = []
        for pid in self.process.stdout.readline().split():
            with suppress(psutil.NoSuchProcess):
                self.family.append(psutil.Process(int(pid)))

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def _ignore_interrupts() -> None:
    # What a shell without job control does to a command that ends in `&`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home; whatever a failed test left running in it is ended."""
    yield tmp_path
    leftovers.end_leftovers(tmp_path / "run")


def still_running(family: list[psutil.Process]) -> list[psutil.Process]:
    return [
        process
        for process in family
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopping_signal_stops_every_child(home: Path, number: int) -> None:
    toy = Toy(home, "obedient")

    assert toy.end(number) == 0
    assert len(toy.family) == 2
    assert not still_running(toy.family)
    assert not list((home / "run").glob("*.json"))


def test_ctrl_c_works_where_the_shell_had_switched_it_off(home: Path) -> None:
    toy = Toy(home, "obedient", in_background=True)

    assert toy.end(signal.SIGINT) == 0
    assert not still_running(toy.family)


def test_children_that_ignore_sigterm_are_killed_with_what_they_started(home: Path) -> None:
    toy = Toy(home, "stubborn")

    assert len(toy.family) == 3
    assert toy.end(signal.SIGINT) == 0
    assert not still_running(toy.family)


def test_what_a_killed_supervisor_left_is_ended_by_the_next_one(home: Path) -> None:
    toy = Toy(home, "stubborn")
    assert toy.end(signal.SIGKILL) == -signal.SIGKILL
    time.sleep(0.3)
    assert len(still_running(toy.family)) >= 2, "the stubborn ones outlive their supervisor"

    with Supervisor(home):
        assert not still_running(toy.family)
        assert not list((home / "run").glob("*.json"))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for it")
def test_obedient_children_go_with_a_killed_supervisor(home: Path) -> None:
    toy = Toy(home, "obedient")
    toy.end(signal.SIGKILL)

    psutil.wait_procs(toy.family, timeout=10)

    assert not still_running(toy.family)


@pytest.mark.parametrize("difference", ["created", "command"])
def test_a_process_that_only_has_a_leftovers_id_is_spared(home: Path, difference: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        record = leftovers.Record.of("api", bystander.pid, "a mark")
        assert record
        fields = vars(record) | {"created": {"created": record.created - 60}, "command": {
            "command": ["postgres"]}}[difference]  # fmt: skip
        (home / "run").mkdir()
        (home / "run" / "api.json").write_text(json.dumps(fields))

        with Supervisor(home):
            assert bystander.poll() is None
        bystander.kill()


def test_a_child_that_ends_is_reported_with_its_last_words(home: Path) -> None:
    toy = Toy(home, "mortal")

    _, said = toy.process.communicate(timeout=30)

    assert toy.process.returncode == 1
    assert said.startswith("The second child stopped (exit status 3)")
    assert "my last words" in said
    assert not still_running(toy.family)


def test_a_child_that_is_never_ready_is_reported(home: Path) -> None:
    sleeper = Service(
        "slow",
        "The slow child",
        (sys.executable, "-c", "import time; time.sleep(60)"),
        dict(os.environ),
        ready=lambda: False,
        ready_within_seconds=0.5,
    )

    with Supervisor(home) as supervisor:
        child = supervisor.start(sleeper)
        with pytest.raises(ServiceFailedError, match="The slow child was not ready within"):
            supervisor.wait_until_ready(child)

    assert child.process.poll() is not None


def test_one_supervisor_per_folder(home: Path) -> None:
    with (
        Supervisor(home),
        Supervisor(home, "materialize"),
        pytest.raises(AlreadyRunningError),
        Supervisor(home),
    ):
        pass


def test_the_log_of_the_start_before_is_kept(home: Path) -> None:
    for word in ("earlier", "later"):
        speaker = Service(
            "speaker",
            "The speaker",
            (sys.executable, "-c", f"print({word!r})"),
            dict(os.environ),
        )
        with Supervisor(home) as supervisor:
            supervisor.start(speaker).process.wait(20)

    assert (home / "logs" / "speaker.previous.log").read_text() == "earlier\n"
    assert (home / "logs" / "speaker.log").read_text() == "later\n"
