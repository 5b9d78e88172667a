"""Suites of vectors: what is compared, averaged and indexed is a unit vector of its own space."""

from datetime import timedelta

from seda.vectorstore.rows import NORM_TOLERANCE
from seda_assets.checks.declarations import Check, Never, Suite

_SPACE = "join seda.embedding_spaces s on s.id = t.space_id"
_OLDEST = timedelta(days=60)

DIMENSION = Check(
    "dimension",
    "Every vector has as many dimensions as its space.",
    (Never("a vector has the dimensions of its space", "vector_dims(t.embedding) <> s.dim",
           _SPACE),),
    is_blocking=True,
)  # fmt: skip
UNIT_NORM = Check(
    "unit_norm",
    f"Every vector has unit norm, to {NORM_TOLERANCE:g}.",
    (Never("a vector has unit norm",
           f"not l2_norm(t.embedding) between {1 - NORM_TOLERANCE} and {1 + NORM_TOLERANCE}"),),
    is_blocking=True,
)  # fmt: skip
REGION = Check(
    "region",
    "Every vector is of a space of its region.",
    (Never("a vector is of this region",
           "t.region <> seda.database_region() or s.region <> seda.database_region()", _SPACE),),
    is_blocking=True,
)  # fmt: skip
AGE = Check(
    "age",
    f"No vector of the active space is older than {_OLDEST.days} days: all are renewed before.",
    (Never(f"a vector is younger than {_OLDEST.days} days",
           f"s.state = 'active' and t.computed_at < {{now}} - interval '{_OLDEST.days} days'",
           _SPACE),),
    is_warning=True,
)  # fmt: skip

ENTITY_VECTORS = tuple(
    Suite(f"{kind}_vectors", (DIMENSION, UNIT_NORM, REGION, AGE))
    for kind in ("artists", "playlists", "rooms")
)
TASTE_VECTORS = Suite("user_vectors", (DIMENSION, UNIT_NORM, REGION), asset=("taste_vectors",))
