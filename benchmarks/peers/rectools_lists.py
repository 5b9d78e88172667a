"""Lists of RecTools' models for the same split, as files that `benchmarks.quality --peers` judges.

RecTools 0.19 needs NumPy 1 and pandas 2, this project has NumPy 2 and pandas 3: it runs in an
environment of its own. DIR is the benchmark package; only its training split is read.

    python -m venv rectools && rectools/bin/pip install rectools
    rectools/bin/python benchmarks/peers/rectools_lists.py DIR lists
    python -m benchmarks.quality DIR --peers lists
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import TFIDFRecommender
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


def main() -> None:
    """Writes `rectools MODEL.csv` for each model: user_id, artist_id, rank."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("lists", type=Path)
    arguments = parser.parse_args()
    arguments.lists.mkdir(parents=True, exist_ok=True)
    plays = pd.read_csv(arguments.directory / "train.csv.gz")
    interactions = plays.rename(
        columns={"user_id": Columns.User, "artist_id": Columns.Item, "plays": Columns.Weight}
    ).assign(datetime=pd.Timestamp(0))
    # Log plays, as our own models read them.
    interactions[Columns.Weight] = np.log1p(interactions[Columns.Weight])
    dataset = Dataset.construct(interactions)
    for name, model in (
        ("EASE", EASEModel(regularization=300.0)),
        ("ALS", ImplicitALSWrapperModel(
            AlternatingLeastSquares(factors=24, regularization=5.0, alpha=10, random_state=0))),
        ("item-item TF-IDF", ImplicitItemKNNWrapperModel(TFIDFRecommender(K=100))),
        ("PureSVD", PureSVDModel(factors=24)),
        ("popularity", PopularModel()),
    ):  # fmt: skip
        model.fit(dataset)
        lists = model.recommend(
            users=plays["user_id"].unique(), dataset=dataset, k=LISTED, filter_viewed=True
        )
        lists = lists.rename(columns={Columns.User: "user_id", Columns.Item: "artist_id"})
        lists[["user_id", "artist_id", "rank"]].to_csv(
            arguments.lists / f"rectools {name}.csv", index=False
        )


if __name__ == "__main__":
    main()
