"""`/metrics` tells the embeddings' state in every region, and no more than numbers."""

from datetime import UTC, datetime

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.errors import InsufficientPrivilege

from seda.database.regions import Region, api_login_url
from tests.serving.serving_world import World

NOW = datetime.now(UTC)


async def _samples(api) -> dict[tuple, float]:
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_breakers_spend_and_waiting_texts_are_told_by_region(api, world: World) -> None:
    world.sql(
        "insert into seda.circuit_breakers (provider, phase, since) values ('openai', 'open', %s)",
        NOW,
    )
    world.sql(
        "insert into seda.embedding_spend (provider, model, job, state, tokens, usd, worker, "
        "reserved_at, expires_at, outcome) values "
        "('openai', 'm', 'new_text', 'settled', 5, 1.25, 'w', %s, %s, 'ok')",
        NOW, NOW,
    )  # fmt: skip
    samples = await _samples(api)
    here, provider = ("region", "global"), ("provider", "openai")
    assert samples["seda_embedding_breaker_phase", provider, here] == 2
    assert samples["seda_embedding_month_usd", ("job", "new_text"), provider, here] == 1.25
    assert samples["seda_embedding_requests_total", ("outcome", "ok"), provider, here] == 1
    assert samples["seda_embedding_cap_usd", here] == 1500
    for region in Region:
        assert samples["seda_database_up", ("region", str(region))] == 1


def test_the_apis_login_may_ask_for_the_numbers_and_nobody_else(world: World) -> None:
    asked = "select metric from seda.embedding_health(now())"
    with psycopg.connect(api_login_url(world.databases[Region.EU], world.settings)) as login:
        login.execute(asked).fetchall()
    with world.as_person(None, "anon") as anybody, pytest.raises(InsufficientPrivilege):
        anybody.execute(asked)
    with world.as_person(world.person("Ada")) as person, pytest.raises(InsufficientPrivilege):
        person.execute(asked)
