"""Ends the embedded Postgres whatever state its files are in, so that they can be deleted."""

import json
from pathlib import Path

import psutil

from seda.errors import SedaError

_SECONDS = 20.0


class ClusterInUseError(SedaError):
    """Another process of ours works with the embedded databases."""


def end_cluster(data_directory: Path) -> None:
    """Stop the server of this directory, if one runs.

    Raises:
        ClusterInUseError: a live process still holds it.
    """
    holders = [pid for pid in _holders(data_directory) if psutil.pid_exists(pid)]
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


def _holders(data_directory: Path) -> list[int]:
    try:
        return [int(pid) for pid in json.loads((data_directory / ".handle_pids.json").read_text())]
    except (OSError, ValueError):
        return []


def _server(data_directory: Path) -> psutil.Process | None:
    """The postmaster, by the id that it wrote down, if that is a Postgres of this directory."""
    try:
        pid = int((data_directory / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        is_ours = str(data_directory) in process.cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if is_ours else None
