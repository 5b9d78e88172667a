"""The newcomer's first command, whole: from nothing to a feed with reasons, and once more; and, in
the home that it leaves, a backfill as the processes that people start."""

import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from seda.database.regions import Databases, Region
from seda.registry.models import BLEND, ModelVersion, promote, register
from seda.settings import Settings
from tests.cli.cli_runs import Answer, run_seda

SHARD = "eu-00"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose home the demo fills."""
    return tmp_path_factory.mktemp("demo")


def test_the_demo_prints_a_feed_of_all_three_types_and_leaves_nothing_behind(folder: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    first = run_seda(folder, "demo", "--once", SEDA_API_PORT=0)
    assert first.returncode == 0, first.stderr
    for kind in ("room", "playlist", "artist"):
        assert re.search(rf"^ *\d+ +{kind} ", first.stdout, re.MULTILINE), first.stdout
    assert re.search(r"Because you listen to|friends? (is|are) here|Trending in", first.stdout)
    assert "source: personal" in first.stdout
    assert "served from the EU database" in first.stdout

    second = run_seda(folder, "demo", "--once", SEDA_API_PORT=0)
    assert second.returncode == 0, second.stderr
    assert "Seeding" not in second.stdout
    assert "Materialising" not in second.stdout
    assert "source: personal" in second.stdout

    home = str(folder / "home")
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


def test_a_backfill_says_what_it_will_do_does_it_and_repeats_nothing(folder: Path) -> None:
    """Over the home that the demo left, by the processes that people start."""
    if not (folder / "home").exists():
        assert run_seda(folder, "demo", "--once", SEDA_API_PORT=0).returncode == 0
    # The server is held, so that no command starts and stops it again.
    with closing(Databases(Settings(_env_file=None, home=folder / "home"))) as held:
        refused(run_seda(folder, "backfill", "--shards", "mars-00"),
                "There is no shard mars-00; there are eu-00, ")  # fmt: skip
        activate(held, "mine-1")
        refused(run_seda(folder, "backfill", "--model", "nobodys", "--shards", SHARD),
                "The eu region ranks with mine-1, not with nobodys: make nobodys ")  # fmt: skip
        served = generation(held)
        planned = run_seda(folder, "backfill", "--dry-run", "--model", "mine-1", "--shards", SHARD)
        assert (planned.returncode, planned.stderr) == (0, "")
        assert f"- 1 shard ({SHARD}) served by " in planned.stdout
        assert re.search(r"To be computed for 1 shard: ranked_rec.*seda/recomm", planned.stdout)
        assert generation(held) == served
        done = run_seda(folder, "backfill", "--model", "mine-1", "--shards", SHARD)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"Run 1 of 1: 3 assets, shard {SHARD}." in done.stdout
        assert done.stdout.endswith("1 run done, 0 failed.\n")
        assert generation(held) > served
        again = run_seda(folder, "backfill", "--shards", SHARD)
        assert (again.returncode, again.stderr) == (0, "")
        assert again.stdout == "Nothing to do: every list is the active model's.\n"


def refused(answer: Answer, because: str) -> None:
    """Exit status 1, the reason, and what to do, without a traceback."""
    assert answer.returncode == 1, answer
    reason, what_next = answer.stderr.splitlines()
    assert reason.startswith(because)
    assert what_next.startswith("The backfill stopped (exit status 1): correct what the lines")
    assert answer.stdout == ""


def activate(held: Databases, version: str) -> None:
    with held[Region.EU].transaction() as connection:
        register(connection, ModelVersion(BLEND, version, "linear", {"content": 1.0}), {})
        promote(connection, BLEND, version, now=datetime.now(UTC))


def generation(held: Databases) -> int:
    """The newest that the shard is served."""
    with held[Region.EU].transaction() as connection:
        ((newest,),) = connection.execute(
            "select max(generation) from seda.generation_pointer where shard = %s", [SHARD]
        ).fetchall()
    return int(newest)
