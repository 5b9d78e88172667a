"""Changes what a good night stored, and puts it back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import dagster as dg

from seda.database.arrays import pack, unpack
from seda.database.regions import Region
from tests.checks.conftest import Night

SHARD = "global-03"


@contextmanager
def stored(night: Night, path: str) -> Iterator[Any]:
    """An intermediate result to change, which is put back at the end."""
    storage = night.platform.storages[Region.GLOBAL]
    good = storage.get_arrays(path)
    value = unpack(good)
    try:
        yield value
    finally:
        storage.put_arrays(path, good)


def put(night: Night, path: str, value: Any) -> None:
    night.platform.storages[Region.GLOBAL].put_arrays(path, pack(value))


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks of the published lists and vectors that failed, by name."""
    return {
        each.check_name: each
        for each in result.get_asset_check_evaluations()
        if not each.passed and each.blocking
    }


def someone(night: Night) -> tuple[UUID, str]:
    """The id and the token's subject of one person of the shard."""
    shard = night.platform.shards[SHARD]
    return night.sql(
        "select id, auth_user_id from seda.users where deleted_at is null "
        "and bucket >= %s and bucket < %s order by id limit 1",
        *shard.buckets,
    )[0]
