"""The newcomer's first command, whole: from nothing to a feed with reasons, and once more."""

import re
from pathlib import Path

import psutil

from tests.cli.cli_runs import run_seda


def test_the_demo_prints_a_feed_of_all_three_types_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    before = {process.pid for process in psutil.process_iter()}
    first = run_seda(tmp_path, "demo", "--once", SEDA_API_PORT=0)
    assert first.returncode == 0, first.stderr
    for kind in ("room", "playlist", "artist"):
        assert re.search(rf"^ *\d+ +{kind} ", first.stdout, re.MULTILINE), first.stdout
    assert re.search(r"Because you listen to|friends? (is|are) here|Trending in", first.stdout)
    assert "source: personal" in first.stdout
    assert "served from the EU database" in first.stdout

    second = run_seda(tmp_path, "demo", "--once", SEDA_API_PORT=0)
    assert second.returncode == 0, second.stderr
    assert "Seeding" not in second.stdout
    assert "Materialising" not in second.stdout
    assert "source: personal" in second.stdout

    home = str(tmp_path / "home")
    left = [
        process
        for process in psutil.process_iter()
        if process.pid not in before and _belongs_to(process, home)
    ]
    assert left == []


def _belongs_to(process: psutil.Process, home: str) -> bool:
    try:
        return home in " ".join(process.cmdline()) or process.environ().get("SEDA_HOME") == home
    except psutil.Error:
        return False
