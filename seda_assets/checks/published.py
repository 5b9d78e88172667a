"""The invariants of published lists as blocking checks of both published assets."""

from collections.abc import Iterator, Sequence

import dagster as dg

from seda.privacy.datamap import PERSONAL, data_map
from seda.publishing.inspection import MEANINGS, Finding, Invariant

_LISTS = ("recommendations", "mv_user_top_candidates")
# What the feed reads are the lists; the rest holds of the rows, or of both.
_OF_THE_FEED = frozenset({Invariant.NOVELTY_QUOTA, Invariant.SCORE_RANGE})


def _asset(invariant: Invariant) -> dg.AssetKey:
    return dg.AssetKey(["seda", _LISTS[invariant in _OF_THE_FEED]])


def published_specs() -> list[dg.AssetCheckSpec]:
    """One blocking check per invariant."""
    return [
        dg.AssetCheckSpec(
            str(invariant), asset=_asset(invariant), description=MEANINGS[invariant], blocking=True
        )
        for invariant in Invariant
    ]


def published_verdicts(findings: Sequence[Finding]) -> Iterator[dg.AssetCheckResult]:
    """What each check says of the findings; nobody is named, so where they are is told instead."""
    for invariant in Invariant:
        mine = [each for each in findings if each.invariant is invariant]
        yield dg.AssetCheckResult(
            passed=not mine,
            asset_key=_asset(invariant),
            check_name=str(invariant),
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"failed": sum(each.count for each in mine), **_where(mine)},
        )


def _where(findings: Sequence[Finding]) -> dict[str, dg.MetadataValue]:
    if not findings:
        return {}
    hidden = sorted(
        {name for table in _LISTS for name, kind in data_map()[table].items() if kind in PERSONAL}
    )
    lines = ["| region | shard | type | generation | rows or lists |", "| --- " * 5 + "|"]
    for each in findings:
        region = each.shard.partition("-")[0]
        lines.append(
            f"| {region} | {each.shard} | {each.entity_type} | {each.generation} | {each.count:,} |"
        )
    lines.append(f"\nNot shown, because they are about people: {', '.join(hidden)}.")
    return {"where": dg.MetadataValue.md("\n".join(lines))}
