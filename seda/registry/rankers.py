"""From a registered version to the ranker that it is, among what a region has learned."""

from seda.errors import SedaError
from seda.recommender.learned import DESIGN, TUNED, LearnedRankers
from seda.recommender.ranking import LinearWeights, Ranker, linear_weights
from seda.registry.models import ModelVersion


class MissingRankerError(SedaError):
    """A version's trees are not among what is learned now."""


def learned_version(kind: str, data: int) -> str:
    """The name of what was learned on so many data, such as `lambdarank-120412`."""
    return f"{kind}-{data}"


def data_size(learned: dict[str, LearnedRankers]) -> int:
    """On how many interactions and answers a region's rankers were learned, all types together."""
    return sum(each.size.entries + each.size.answers for each in learned.values())


def exact_ranker(
    version: ModelVersion, learned: dict[str, LearnedRankers], entity_type: str
) -> Ranker:
    """The ranker of just this version, for one entity type.

    `learned` is of every type. Linear weights stand in the registry; trees are where they were
    learned, until others are.

    Raises:
        MissingRankerError: its trees were replaced by others, or were never learned.
    """
    if version.kind == DESIGN:
        return linear_weights(version.kind, version.config)
    if version.kind == TUNED and entity_type in version.config:
        return LinearWeights(**version.config[entity_type])
    if version.version != learned_version(version.kind, data_size(learned)):
        raise MissingRankerError(
            f"The trees of {version.name} {version.version} were replaced by what was learned "
            "since: make a newer version the canary."
        )
    return learned[entity_type].ranker(version.kind, LinearWeights())
