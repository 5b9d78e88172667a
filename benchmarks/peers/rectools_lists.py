"""Lists of RecTools' models for the same split, as files that `benchmarks.quality --peers` judges.

RecTools 0.19 needs NumPy 1 and pandas 2, this project has NumPy 2 and pandas 3: it runs in an
environment of its own. DIR is the benchmark package; only its training split is read, and what a
model leaves open is chosen on a tenth of it.

    python -m venv rectools && rectools/bin/pip install rectools
    rectools/bin/python benchmarks/peers/rectools_lists.py DIR lists
    python -m benchmarks.quality DIR --peers lists
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, TFIDFRecommender
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import (
    EASEModel,
    ImplicitALSWrapperModel,
    ImplicitItemKNNWrapperModel,
    PopularModel,
    PureSVDModel,
)

LISTED = 100
SEED = 0


def als(alpha: float, regularization: float) -> ImplicitALSWrapperModel:
    """`implicit`'s ALS with as many factors as ours."""
    return ImplicitALSWrapperModel(
        AlternatingLeastSquares(
            factors=24, alpha=alpha, regularization=regularization, random_state=SEED
        )
    )


# Each model's candidates, made anew for every fit.
MODELS: dict[str, list[Callable[[], object]]] = {
    "EASE": [lambda r=r: EASEModel(regularization=r) for r in (300.0, 1e3, 3e3, 1e4, 3e4)],
    "ALS": [lambda a=a, r=r: als(a, r) for a in (1.0, 3.0, 10.0) for r in (0.1, 1.0, 5.0, 15.0)],
    "item-item": [
        lambda kind=kind, n=n: ImplicitItemKNNWrapperModel(kind(K=n))
        for kind in (TFIDFRecommender, BM25Recommender)
        for n in (50, 200, 1000)
    ],
    "PureSVD": [lambda f=f: PureSVDModel(factors=f) for f in (8, 16, 32, 64)],
    "popularity": [PopularModel],
}


def main() -> None:
    """Writes `rectools MODEL.csv` for each model: user_id, artist_id, rank."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("lists", type=Path)
    arguments = parser.parse_args()
    arguments.lists.mkdir(parents=True, exist_ok=True)
    plays = pd.read_csv(arguments.directory / "train.csv.gz").rename(
        columns={"user_id": Columns.User, "artist_id": Columns.Item, "plays": Columns.Weight}
    )
    plays[Columns.Datetime] = pd.Timestamp(0)
    # Log plays, as our own models read them.
    plays[Columns.Weight] = np.log1p(plays[Columns.Weight])
    held = np.random.default_rng(SEED).random(len(plays)) < 0.1
    for name, made in MODELS.items():
        recalls = [recall(each(), plays[~held], plays[held]) for each in made]
        print(name, [round(each, 4) for each in recalls])
        lists = listed(made[int(np.argmax(recalls))](), plays, LISTED)
        lists = lists.rename(columns={Columns.User: "user_id", Columns.Item: "artist_id"})
        lists[["user_id", "artist_id", "rank"]].to_csv(
            arguments.lists / f"rectools {name}.csv", index=False
        )


def listed(model: object, plays: pd.DataFrame, k: int) -> pd.DataFrame:
    """The model's lists for everybody, fitted on these plays, without what they contain."""
    dataset = Dataset.construct(plays)
    model.fit(dataset)
    users = plays[Columns.User].unique()
    return model.recommend(users=users, dataset=dataset, k=k, filter_viewed=True)


def recall(model: object, plays: pd.DataFrame, held: pd.DataFrame) -> float:
    """The share of the held-out pairs among the first 20."""
    pairs = [Columns.User, Columns.Item]
    return len(listed(model, plays, 20)[pairs].merge(held[pairs])) / len(held)


if __name__ == "__main__":
    main()
