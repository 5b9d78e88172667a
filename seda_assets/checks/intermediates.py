"""Suites of intermediate results, which are files of arrays: what they hold is counted per shard
and type (`counting`), and Great Expectations validates the counts.

They block: positions that mean something else, or numbers that are none, would be published.
"""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from seda.database.regions import Region
from seda_assets.assets.candidates import PER_SOURCE
from seda_assets.automation.partitions import user_shards
from seda_assets.checks import counting
from seda_assets.checks.counting import Counting, Stored
from seda_assets.checks.declarations import Between, Check, Suite, Zero
from seda_assets.checks.frames import validate_frame
from seda_assets.checks.validation import Outcome
from seda_assets.resources import Platform

CANDIDATES = ("content", "collaborative", "social", "trending")

_SNAPSHOT = Zero("other_snapshot", "positions are those of the snapshot that is stored")
_PEOPLE = Zero("wrong_people", "there is one row for each person, and for nobody else")
_ITEMS = Zero("wrong_items", "there is one row for each item of the catalogue")
_CATALOGUE = Zero("outside_catalogue", "nothing points outside of the catalogue or the people")
_FINITE = Zero("non_finite", "every number is finite")
_PAIRS = Zero("repeated_pairs", "nobody has an item twice")


def _blocking(name: str, *rules: Zero | Between) -> Check:
    said = "; ".join(map(str, rules))
    return Check(name, f"{said[0].upper()}{said[1:]}.", rules, is_blocking=True)


def _suite(asset: str, *checks: Check) -> Suite:
    return Suite(asset, checks, asset=(asset,))


MATRICES = _suite(
    "interaction_matrices",
    _blocking("positions", _PEOPLE, _CATALOGUE, Zero("repeated_ids", "an id has one position")),
    _blocking("numbers", _FINITE, Zero("negative", "nothing was played less than never")),
)
TASTES = _suite(
    "taste_vectors", _blocking("positions", _SNAPSHOT, _PEOPLE), _blocking("numbers", _FINITE)
)
FACTORS = _suite(
    "collaborative_factors",
    _blocking("positions", _SNAPSHOT, _PEOPLE, _ITEMS, _CATALOGUE),
    _blocking("numbers", _FINITE),
)
CLUSTERS = _suite(
    "entity_clusters",
    _blocking("positions", _SNAPSHOT, _ITEMS,
              Zero("outside_clusters", "there are no more clusters than items")),
)  # fmt: skip
SOURCES = tuple(
    _suite(
        f"{name}_candidates",
        _blocking("positions", _SNAPSHOT, _PEOPLE, _CATALOGUE),
        _blocking("contents", _PAIRS, _FINITE, Between("largest_pool", 0, PER_SOURCE)),
    )
    for name in CANDIDATES
)
POOLS = _suite(
    "candidate_sets",
    _blocking("positions", _SNAPSHOT, _PEOPLE, _CATALOGUE),
    _blocking(
        "contents", _PAIRS, Between("largest_pool", 0, len(CANDIDATES) * PER_SOURCE),
        Zero("unsourced", "every candidate has a source"),
        Zero("unwanted", "who opted out has no candidates"),
        Zero("empty_shards", "a shard in which somebody listens has candidates"),
    ),
)  # fmt: skip
RANKED = _suite(
    "ranked_recommendations",
    _blocking("positions", _SNAPSHOT, _PEOPLE, _CATALOGUE),
    _blocking("contents", _PAIRS, _FINITE),
)

COUNTED: Mapping[str, Counting] = {
    "interaction_matrices": counting.matrices,
    "taste_vectors": counting.tastes,
    "collaborative_factors": counting.factors,
    "entity_clusters": counting.clusters,
    **{suite.relation: counting.lists_of(suite.relation) for suite in SOURCES},
    "candidate_sets": counting.pools,
    "ranked_recommendations": counting.ranked,
}
INTERMEDIATES = (MATRICES, TASTES, FACTORS, CLUSTERS, *SOURCES, POOLS, RANKED)


def run_shards(tags: Mapping[str, str]) -> list[str]:
    """The shards that a run with these tags is of; all where it names none."""
    keys = list(user_shards.get_partition_keys())
    first = tags.get("dagster/asset_partition_range_start", tags.get("dagster/partition"))
    last = tags.get("dagster/asset_partition_range_end", first)
    if first is None or last is None:
        return keys
    return keys[keys.index(first) : keys.index(last) + 1]


def validate_stored(
    platform: Platform, suites: Sequence[Suite], asked: Mapping[dg.AssetKey, Collection[str]],
    shards: Sequence[str],
) -> dict[tuple[dg.AssetKey, str], list[tuple[Region, Outcome]]]:  # fmt: skip
    """What the suites find in what is stored of these shards.

    Raises:
        NotStoredError: something was never materialised.
    """
    import pandas as pd  # which nothing else needs in a run that must be quick

    found: dict[tuple[dg.AssetKey, str], list[tuple[Region, Outcome]]] = {}
    for region, mine in platform.shards_by_region(shards).items():
        stored = Stored.of(platform, region, mine)
        for suite in suites:
            key = dg.AssetKey(suite.asset_key)
            rows = list(COUNTED[suite.relation](stored))
            frame = pd.DataFrame(rows, columns=_columns(suite)).fillna(0)
            for outcome in validate_frame(suite, asked[key], frame):
                found.setdefault((key, outcome.check), []).append((region, outcome))
    return found


def _columns(suite: Suite) -> list[str]:
    rules = [rule for check in suite.checks for rule in check.rules]
    named = [rule.column for rule in rules if isinstance(rule, Zero | Between)]
    return ["place", "entity_type", *dict.fromkeys(named)]
