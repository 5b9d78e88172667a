"""`seda model` and `seda gate`: a version's way from shadow to active and back, and exit codes."""

import json

import pytest

from seda.database.regions import Databases, Region
from tests.cli.cli_runs import Seda, sentence

WEIGHTS = {"content": 0.3, "collaborative": 0.5, "social": 0.2, "popularity": 0.0}
NOBODY = {
    "SEDA_API_METRICS_URLS": "http://127.0.0.1:9/metrics",
    "SEDA_REALTIME_METRICS_URLS": "http://127.0.0.1:9/metrics",
}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(WEIGHTS))
    return path


def said(answer) -> str:
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_a_version_is_registered_compared_rolled_back_and_promoted(
    seda_here: Seda, databases: Databases, weights
) -> None:
    assert "in shadow" in said(seda_here("model", "register", "mine-1", "--weights", weights))
    assert json.loads(said(seda_here("model", "show", "mine-1")))["config"] == WEIGHTS
    assert "global: no canary runs" in said(seda_here("gate", **NOBODY))
    assert "seda model canary" in sentence(seda_here("model", "rollback"))
    assert "for 5% of the people" in said(seda_here("model", "canary", "mine-1", "--share", 0.05))
    looked = seda_here("gate", **NOBODY)
    assert looked.returncode == 2  # nobody was shown anything, no service answered
    assert "Verdict: not enough data." in looked.stdout
    assert "not known" in looked.stdout
    assert "eu: no canary runs" in looked.stdout
    with databases[Region.GLOBAL].connect(autocommit=True) as connection:
        # A list that nobody may have.
        connection.execute(
            "insert into seda.generations (shard, model_version, state, published_at, arm, "
            "experiment) select 'global-00', 'mine-1', 'published', now(), 'canary', name "
            "from seda.experiments"
        )
        connection.execute(
            "insert into seda.generation_pointer (shard, entity_type, arm, generation) "
            "select 'global-00', 'room', 'canary', generation from seda.generations"
        )
        connection.execute(
            "create table seda.mv_user_top_candidates_g1 partition of "
            "seda.mv_user_top_candidates for values in (1)"
        )
        connection.execute(
            "insert into seda.mv_user_top_candidates (generation, user_id, entity_type, "
            "recommendation_ids, entity_ids, scores, cards, model_version, created_at, expires_at) "
            "values (1, gen_random_uuid(), 'room', '{}', '{}', '{}', '{}', 'mine-1', now(), now())"
        )
    looked = seda_here("gate", "--region", "global", **NOBODY)
    assert looked.returncode == 1
    assert "To be rolled back: privacy: 1 lists" in looked.stdout
    # Looking changes nothing.
    assert "running" in said(seda_here("model", "list"))
    assert "back in shadow" in said(seda_here("model", "rollback", "--reason", "a leak"))
    assert "a leak" in said(seda_here("models", "list"))
    said(seda_here("model", "canary", "mine-1", "--name", "second"))
    assert "linear-design-1 is retired" in said(seda_here("model", "promote"))
    listed = said(seda_here("model", "list"))
    assert "promoted" in listed
    assert listed.index("mine-1") < listed.index("linear-design-1")


REFUSED = {
    ("show", "nothing"): "No version nothing of blend is registered here",
    ("canary", "nothing"): "No version nothing of blend is registered here",
    ("canary", "linear-design-1"): "is active and cannot become canary",
    ("promote",): "No canary is served here",
    ("retire", "linear-design-1"): "is active and ranks",
}


def test_what_cannot_be_done_is_one_sentence(seda_here: Seda, weights) -> None:
    for command, refusal in REFUSED.items():
        assert refusal in sentence(seda_here("model", *command)), command
    for text in ("{", "[1]", '{"contents": 1}', '{"content": "much"}'):
        weights.write_text(text)
        answer = seda_here("model", "register", "mine-1", "--weights", weights)
        assert "holds no weights of a linear ranker" in sentence(answer), text
