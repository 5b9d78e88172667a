"""From scores to lists: novelty quota, near-duplicates, caps, and diversity by DPP or MMR.

`select` is the one entry; what is new (`novelty`) and what is the same thing twice (`duplicates`)
are decided here too. Scores are never changed, only the order of places.
"""

from seda.recommender.diversity.arrivals import rotating_arrivals
from seda.recommender.diversity.duplicates import duplicate_groups, normalised_title
from seda.recommender.diversity.greedy import PAGE
from seda.recommender.diversity.novelty import NEW_PER_TEN, new_to_user, quota
from seda.recommender.diversity.projection import project
from seda.recommender.diversity.selection import (
    DISPERSED,
    MARGINAL,
    Cap,
    Diversity,
    Method,
    SelectedLists,
    cap_labels,
    select,
)

__all__ = [
    "DISPERSED",
    "MARGINAL",
    "NEW_PER_TEN",
    "PAGE",
    "Cap",
    "Diversity",
    "Method",
    "SelectedLists",
    "cap_labels",
    "duplicate_groups",
    "new_to_user",
    "normalised_title",
    "project",
    "quota",
    "rotating_arrivals",
    "select",
]
