"""The names of what ranking reads and gives, in the order in which arrays hold them.

Names alone, so that a service which explains a stored row imports no mathematics.
"""

FEATURES = (
    "embedding_similarity",
    "collaborative_score",
    "friend_presence_count",
    "social_score",
    "recency_score",
    "popularity",
    "diversity_penalty",
    "user_privacy_flags",
    "provider_affinity",
    "ease_score",
    "neighbour_score",
    "walk_score",
    "tag_neighbour_score",
    "tag_similarity",
    "medoid_similarity",
    "presence",
    "profile_size",
    "ignored_impressions",
    "response_rate",
)
"""Columns of a feature table:

- `embedding_similarity`: inner product of taste and item vector (a cosine if both are unit);
- `collaborative_score`: inner product of user and item factors;
- `friend_presence_count`: friends in the room (or listening) at computation;
- `social_score`: friends' log plays, weighted by how alike they listen;
- `recency_score`: freshness of the item, as the caller defines it (larger is fresher);
- `popularity`: the caller's damped listening volume, e.g. log(1 + decayed plays);
- `diversity_penalty`: share of the user's pool in the candidate's cluster, in (0, 1];
- `user_privacy_flags`: the user's flags as a number, for audit (never a weight);
- `provider_affinity`: affinity of the user to the item's best linked provider;
- `ease_score`, `neighbour_score`, `walk_score`, `tag_neighbour_score`: the user's row times the
  item-to-item weights of each model;
- `tag_similarity`: product of mean taste and item in the tag space;
- `medoid_similarity`: the same with the nearest of the user's medoids;
- `presence`: 1 - product of (1 - attention) over the friends present, in [0, 1);
- `profile_size`: log(1 + items known to the user);
- `ignored_impressions`: times it was shown to the user in vain, older ones counting less;
- `response_rate`: smoothed share of its impressions that anybody answered.
"""

SIGNALS = {
    "content": "embedding_similarity",
    "collaborative": "collaborative_score",
    "ease": "ease_score",
    "neighbours": "neighbour_score",
    "walks": "walk_score",
    "tag_neighbours": "tag_neighbour_score",
    "tags": "tag_similarity",
    "medoids": "medoid_similarity",
    "social": "social_score",
    "presence": "presence",
    "popularity": "popularity",
    "recency": "recency_score",
    "response": "response_rate",
}
"""Name of a calibrated signal → its feature."""
AS_THEY_ARE = ("profile_size", "ignored_impressions")
INPUTS = (*SIGNALS, *AS_THEY_ARE)
"""Columns of `ranking.Ranked.inputs`: calibrated signals, then features that are no signals,
uncalibrated: log(1 + known items), and the impressions in vain, which every ranker discounts alike.
"""
CONTRIBUTIONS = (*INPUTS, "base")
"""Columns of contributions; `base` is what a tree ranker gives to everybody."""
