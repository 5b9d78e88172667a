"""Runs a command that serves until it is interrupted."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.cli_runs import clean_environment


@contextmanager
def serving(folder: Path, *arguments: object, **settings: object) -> Iterator[dict[str, str]]:
    """The `NAME=value` lines that the command prints once it listens; Ctrl-C must end it with 0."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("seda"), *map(str, arguments)],
        env=clean_environment(**{"SEDA_HOME": folder / "home"} | settings),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # A server that says nothing would be read from for ever.
    patience = threading.Timer(90, process.kill)
    patience.start()
    try:
        yield _printed_settings(process)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
        assert process.returncode == 0, complaints
        assert "Traceback" not in complaints
    finally:
        patience.cancel()
        process.kill()
        process.communicate()


def _printed_settings(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    printed: dict[str, str] = {}
    for line in process.stdout:
        name, _, value = line.strip().partition("=")
        if not value and printed:
            return printed
        if value:
            printed[name] = value
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())
