"""The IO manager of intermediate results: files on each region's own storage.

An unpartitioned asset returns a value per region; an asset of user shards returns a value per
partition key of its run. A value is a frozen dataclass of arrays. Readers get a mapping that loads
a value when it is asked for, so that a run over many shards holds few of them at a time.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from seda.database.arrays import pack, unpack
from seda.database.regions import Region
from seda.database.storage import RegionalStorage
from seda.errors import SedaError
from seda_assets.resources import Platform


class IncompleteOutputError(SedaError):
    """An asset did not return a value for each region or partition of its run."""


class StoredValues(Mapping[str, Any]):
    """Partition key or region → value, read from storage when asked for."""

    def __init__(self, places: Mapping[str, tuple[RegionalStorage, str]]) -> None:
        self._places = places

    def __getitem__(self, key: str) -> Any:
        storage, path = self._places[str(key)]
        return unpack(storage.get_arrays(path))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class RegionalFiles(dg.IOManager):
    """Stores under `<asset key>/<region or partition key>` in the storage of that region.

    What is stored is taken out of the asset's dictionary: an in-process run keeps everything that
    its assets returned until it ends, which is gigabytes of a large world.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handle_output(self, context: dg.OutputContext, obj: dict[str, Any]) -> None:
        keys = self._keys(context)
        missing = [key for key in keys if key not in obj]
        if missing:
            raise IncompleteOutputError(
                f"{context.asset_key.to_user_string()} returned nothing for {', '.join(missing)}."
            )
        for key in keys:
            storage, path = self._place(context, key)
            storage.put_arrays(path, pack(obj.pop(key)))

    def load_input(self, context: dg.InputContext) -> StoredValues:
        return StoredValues({key: self._place(context, key) for key in self._keys(context)})

    def _keys(self, context: dg.InputContext | dg.OutputContext) -> list[str]:
        if context.has_asset_partitions:
            return list(context.asset_partition_keys)
        return [str(region) for region in Region]

    def _place(
        self, context: dg.InputContext | dg.OutputContext, key: str
    ) -> tuple[RegionalStorage, str]:
        region = Region(key.partition("-")[0])
        return self._platform.storages[region], "/".join([*context.asset_key.path, key])
