"""Alert rules and dashboard ask for what the services' own `/metrics` tell, and nothing else."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx
import yaml

from seda.settings import REPOSITORY, Settings
from serving.realtime.numbers import LAG_BUCKETS
from serving.telemetry import BUCKETS
from tests.serving.realtime_world import running
from tests.serving.serving_world import Api, World

ALERTS = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())
SCRAPED = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())
DASHBOARD = json.loads((REPOSITORY / "deploy/grafana/objectives.json").read_text())

_METRIC = re.compile(r"(?<![:\w])seda_\w+")
_LABELS = re.compile(r"(seda_\w+)\{([^}]*)\}")
_GROUPED = re.compile(r"by \(([^)]*)\) \(+(?:rate\()?(seda_\w+)")
_RECORDED = re.compile(r"seda:\w+:\w+")


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + panels


def told(text: str) -> dict[str, set[str]]:
    """Each metric of an exposition, by every name of its series, with the labels that it shows."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            found.update({name + suffix: set() for suffix in suffixes})
        elif match := re.match(r"(seda_\w+)\{(.*)\} ", line):
            found.setdefault(match[1], set()).update(re.findall(r'(\w+)="', match[2]))
    return found


async def exported(api: Api, world: World) -> dict[str, set[str]]:
    """What both services tell once there is something to tell."""
    now = datetime.now(UTC)
    world.sql(
        "insert into seda.circuit_breakers (provider, phase, since) values ('openai', 'open', %s)",
        now,
    )
    world.sql(
        "insert into seda.embedding_spend (provider, model, job, state, tokens, usd, worker, "
        "reserved_at, expires_at, outcome, latency_seconds, answered_at) values "
        "('openai', 'm', 'j', 'settled', 5, 1.25, 'w', %s, %s, 'ok', 0.2, %s)", now, now, now,
    )  # fmt: skip
    world.sql(
        "insert into seda.users (id, role) values "
        "('00000000-0000-0000-0000-00000000aaaa', 'super_admin')"
    )
    world.sql(
        "insert into seda.embedding_budget_overrides (approver_id, reason, cap_usd, created_at, "
        "expires_at) values ('00000000-0000-0000-0000-00000000aaaa', 'a launch in May', 2000, %s, "
        "%s::timestamptz + interval '1 day')", now, now,
    )  # fmt: skip
    world.sql(
        "insert into seda.embedding_spaces (id, provider, model, dim, version, region, state) "
        "values ('s', 'local', 'm', 4, '1', 'global', 'active') on conflict do nothing"
    )
    world.sql(
        "insert into seda.embedding_queue (space_id, entity_type, entity_id, content_hash, reason, "
        "enqueued_at, retry_at) values ('s', 'artist', gen_random_uuid(), 'h', 'breaker', %s, %s)",
        now, now,
    )  # fmt: skip
    world.sql(
        "insert into seda.vector_indexes (space_id, entity_type, colour, vectors, breadths, "
        "recalls, build_seconds, built_at, latencies_ms) "
        "values ('s', 'artist', 'blue', 1, '{64}', '{1}', 1, %s, '{4, 8, 300}')", now,
    )  # fmt: skip
    await api.page("/feed", world.person("Ada"))
    first = (await api.get("/metrics")).text
    assert 'seda_vector_search_seconds{entity_type="artist",quantile="0.99",region="global"} 0.3' in first.replace("0.30000001192092896", "0.3")  # fmt: skip  # noqa: E501
    async with running(world) as service, httpx.AsyncClient() as client:
        ada = await service.client(world.person("Ada"))
        assert (await ada.ask("join", world.entity("room", "a room")))["ok"]
        second = (await client.get(f"{service.url}/metrics")).text
    return told(first) | told(second)


async def test_every_metric_and_label_is_exported(api: Api, world: World) -> None:
    known = await exported(api, world)
    asked = {name for expression in expressions() for name in _METRIC.findall(expression)}
    assert len(asked) > 15
    assert asked - set(known) == set()
    for expression in expressions():
        for name, selectors in _LABELS.findall(expression):
            assert set(re.findall(r"(\w+)[=!~]", selectors)) <= known[name], expression
        for labels, name in _GROUPED.findall(expression):
            wanted = set(re.findall(r"\w+", labels)) - {"le", "instance"}
            if known[name]:  # a labelled counter tells its labels with its first event
                assert wanted <= known[name], expression


def test_rules_use_what_rules_record_and_say_where_to_look() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for expression in expressions() for name in _RECORDED.findall(expression)}
    assert used <= recorded
    for rule in alerts().values():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "look"}


def test_every_objective_has_its_alert() -> None:
    limits = {
        "ApiMedianAboveObjective": "> 0.12", "ApiP95AboveObjective": "> 0.25", "ApiSlow": "> 0.4",
        "VectorSearchMedianAboveObjective": "> 0.05", "VectorSearchP95AboveObjective": "> 0.12",
        "VectorSearchP99AboveObjective": "> 0.25", "NotificationsSlow": "> 0.5",
        "ProviderErrors": "> 0.02", "SpendHigh": ">= 0.8", "SpendExhausted": ">= 1",
    }  # fmt: skip
    found = alerts()
    assert [name for name, limit in limits.items() if not found[name]["expr"].endswith(limit)] == []
    assert found["ApiSlow"]["for"] == "5m"
    # An estimate between two edges of a histogram is a guess.
    assert {0.12, 0.25, 0.4} <= set(BUCKETS)
    assert 0.5 in LAG_BUCKETS


def test_what_is_scraped_is_where_the_services_listen() -> None:
    ports = {Settings.model_fields[name].default for name in ("api_port", "realtime_port")}
    targets = [
        target
        for job in SCRAPED["scrape_configs"]
        for each in job["static_configs"]
        for target in each["targets"]
    ]
    assert {int(target.rsplit(":")[-1]) for target in targets} == ports
    assert SCRAPED["rule_files"] == ["alerts.yml"]
