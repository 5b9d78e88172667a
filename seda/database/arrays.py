"""Packs frozen dataclasses of arrays into named arrays and back, for the region's file storage.

A field is an array, a CSR matrix, another such dataclass, a mapping from names to such, or None.
The class is named in the packed form, so that a reader gets the type that was written.
"""

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from scipy import sparse

from seda.errors import SedaError

Arrays = dict[str, np.ndarray]
_KIND = "__kind__"


class UnknownPackedTypeError(SedaError):
    """A stored value names a class that this version does not have."""


def pack(value: Any) -> Arrays:
    """Named arrays of one value; nested values get their field's name as a prefix."""
    packed: Arrays = {}
    _pack("", value, packed)
    return packed


def unpack(arrays: Arrays) -> Any:
    """The value that `pack` was given.

    Raises:
        UnknownPackedTypeError: it was written by a version with other classes.
    """
    return _unpack("", arrays)


def _pack(prefix: str, value: Any, out: Arrays) -> None:
    if value is None:
        out[prefix + _KIND] = np.array("none")
    elif isinstance(value, np.ndarray):
        out[prefix + "array"] = value
    elif sparse.issparse(value):
        matrix = value.tocsr()
        out[prefix + _KIND] = np.array("csr")
        out[prefix + "data"], out[prefix + "indices"] = matrix.data, matrix.indices
        out[prefix + "indptr"] = matrix.indptr
        out[prefix + "shape"] = np.array(matrix.shape)
    elif isinstance(value, Mapping):
        out[prefix + _KIND] = np.array("mapping")
        out[prefix + "keys"] = np.array(list(value), dtype=str)
        for key, member in value.items():
            _pack(f"{prefix}{key}/", member, out)
    elif isinstance(value, int | float | str):
        out[prefix + _KIND] = np.array("scalar")
        out[prefix + "value"] = np.array(value)
    elif is_dataclass(value):
        kind = type(value)
        out[prefix + _KIND] = np.array(f"{kind.__module__}:{kind.__qualname__}")
        for field in fields(value):
            _pack(f"{prefix}{field.name}/", getattr(value, field.name), out)
    else:
        raise TypeError(f"{prefix or 'the value'} is a {type(value).__name__}: arrays only")


def _unpack(prefix: str, arrays: Arrays) -> Any:
    if prefix + "array" in arrays:
        return arrays[prefix + "array"]
    if prefix + _KIND not in arrays:
        raise UnknownPackedTypeError(
            f"A stored intermediate result lacks {prefix.rstrip('/')!r}, which this version reads: "
            "materialise its asset again."
        )
    kind = str(arrays[prefix + _KIND])
    if kind == "none":
        return None
    if kind == "scalar":
        return arrays[prefix + "value"].item()
    if kind == "csr":
        parts = tuple(arrays[prefix + part] for part in ("data", "indices", "indptr"))
        return sparse.csr_matrix(parts, shape=tuple(arrays[prefix + "shape"]))
    if kind == "mapping":
        return {str(key): _unpack(f"{prefix}{key}/", arrays) for key in arrays[prefix + "keys"]}
    owner = _class_named(kind)
    return owner(
        **{field.name: _unpack(f"{prefix}{field.name}/", arrays) for field in fields(owner)}
    )


def _class_named(kind: str) -> Any:
    module, _, name = kind.partition(":")
    if module.split(".")[0] == "seda":
        owner = getattr(importlib.import_module(module), name, None)
        if owner is not None and is_dataclass(owner):
            return owner
    raise UnknownPackedTypeError(
        f"A stored intermediate result is a {kind}, which this version does not have: "
        "materialise its asset again."
    )
