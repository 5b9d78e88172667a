"""`seda kpis` prints what was counted, beside what is wanted."""

from datetime import UTC, datetime, timedelta

from seda.database.regions import Databases, Region
from tests.cli.cli_runs import Seda

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


def test_kpis_are_printed_of_all_regions_of_one_and_by_model(
    seda_here: Seda, databases: Databases
) -> None:
    nothing = seda_here("kpis").stdout
    assert "Nothing was counted in these days" in nothing
    assert "no data" in nothing
    for region, model, skipped in ((Region.GLOBAL, "m1", 10), (Region.EU, "m2", 40)):
        with databases[region].transaction() as connection:
            connection.execute(
                "insert into seda.kpi_skips values (%s, %s, 'control', %s, 100)",
                [YESTERDAY, model, skipped],
            )

    def skips(*arguments: str) -> list[str]:
        lines = seda_here("kpis", *arguments).stdout.splitlines()
        return [" ".join(line.split()) for line in lines if line.startswith("skips ")]

    assert skips() == ["skips ≤ 15% 25.0% 50 of 200 missed"]
    assert skips("--region", "global") == ["skips ≤ 15% 10.0% 10 of 100 met"]
    assert skips("--by-model") == [
        "skips ≤ 15% 10.0% 10 of 100 met", "skips ≤ 15% 40.0% 40 of 100 missed",
    ]  # fmt: skip
    told = seda_here("kpis", "--definitions").stdout
    assert "skips: Of all impressions that a person tried" in " ".join(told.split())
