"""Suites of what is served: how old each shard's lists are, and what stands on them.

The invariants of a generation are not here: they are inspected before it is served (`published`).
"""

from seda_assets.checks.declarations import Check, Never, Suite, contents

_SERVED = "join seda.generations g on g.generation = t.generation"


def _no_older(hours: int) -> tuple[Never, ...]:
    # A shard that is left out of every run stays old while its asset looks fresh.
    old = f"g.created_at < {{now}} - interval '{hours} hours'"
    return (Never(f"no shard is served lists of more than {hours} hours", old, _SERVED),)


SERVED = (
    Suite(
        "generation_pointer",
        (
            Check("served_lists_are_recent", "Every shard is served lists of the last 26 hours.",
                  _no_older(26), is_warning=True),
            Check("served_lists_are_not_stale", "No shard is served lists of more than 36 hours.",
                  _no_older(36)),
        ),
        asset=("seda", "recommendations"),
    ),
    Suite(
        "realtime_rankings",
        (
            contents(
                Never("a score is in [0, 1]",
                      "exists (select from unnest(t.scores) s where not s between 0 and 1)"),
                Never("each place has a rank and a score",
                      "cardinality(t.ranks) <> cardinality(t.scores)"),
            ),
        ),
    ),
)  # fmt: skip
