"""The embedded Postgres's folder when things went wrong: ended servers, unfinished clusters."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from seda.database.embedded import live_holders
from seda.errors import SedaError

_SECONDS = 20.0


class ClusterInUseError(SedaError):
    """Another process of ours works with the embedded databases."""


def is_complete(data_directory: Path) -> bool:
    """Whether a server has ever started here; a cluster is only half made until then."""
    return (data_directory / "postmaster.opts").exists()


@contextmanager
def opening(data_directory: Path) -> Iterator[None]:
    """One process at a time opens the cluster; what a killed one left unfinished is made anew."""
    with (data_directory.parent / ".postgres.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if data_directory.exists() and not is_complete(data_directory):
            for process in psutil.process_iter():
                if _works_on(process, data_directory):
                    process.kill()
            shutil.rmtree(data_directory)
        yield


def end_cluster(data_directory: Path) -> None:
    """Stop the server of this directory, if one runs.

    Raises:
        ClusterInUseError: a live process still holds it.
    """
    holders = live_holders(data_directory)
    if holders:
        raise ClusterInUseError(
            f"Process {holders[0]} works with the databases in {data_directory}: stop it first."
        )
    server = _server(data_directory)
    if server is None:
        return
    server.terminate()
    try:
        server.wait(_SECONDS)
    except psutil.TimeoutExpired:
        server.kill()


def _server(data_directory: Path) -> psutil.Process | None:
    """The postmaster, by the id that it wrote down, if that is a Postgres of this directory."""
    try:
        pid = int((data_directory / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if _works_on(process, data_directory) else None


def _works_on(process: psutil.Process, data_directory: Path) -> bool:
    """Whether this is a program of Postgres that was given this directory."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    programs = ("postgres", "initdb", "pg_ctl")
    return bool(command) and Path(command[0]).name in programs and str(data_directory) in command
