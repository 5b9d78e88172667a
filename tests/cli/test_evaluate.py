"""`seda evaluate`: a table beside baselines, a page that stands alone, and plain refusals."""

from datetime import UTC, datetime
from pathlib import Path

from seda.database.regions import Databases
from seda.sandbox.profiles import SMOKE
from seda.sandbox.seeding import seed_sandbox
from tests.cli.cli_runs import Seda, sentence


def test_the_published_lists_stand_beside_popularity_random_and_each_source(
    seda_here: Seda, databases: Databases, tmp_path: Path
) -> None:
    seed_sandbox(databases, SMOKE, seed=7, now=datetime(2026, 9, 1, 3, tzinfo=UTC))
    page = tmp_path / "report.html"
    answer = seda_here("evaluate", "--people", 60, "--report", page)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    table = {line.split()[0]: line.split() for line in lines if line and line.split()[0].islower()}
    assert {"published", "popularity", "random", "collaborative", "social"} <= table.keys()
    assert float(table["published"][1]) > float(table["random"][1])
    assert "60 people" in answer.stdout
    assert "Leak" not in answer.stderr
    html = page.read_text()
    assert html.count("data:image/png;base64,") == 3
    assert "http" not in html.replace("http-equiv", "")


def test_a_region_without_plays_has_nothing_to_evaluate(seda_here: Seda) -> None:
    said = sentence(seda_here("evaluate", "--region", "eu"))
    assert said.startswith("Nobody in the eu region played any artist")


def test_a_report_needs_a_folder(seda_here: Seda, tmp_path: Path) -> None:
    said = sentence(seda_here("evaluate", "--report", tmp_path / "nowhere" / "report.html"))
    assert "There is no folder" in said
