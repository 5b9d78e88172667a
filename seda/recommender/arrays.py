"""Array types of this room, and the few operations on sparse rows that several stages share.

Sparse inputs are SciPy CSR matrices. Kernels take them as `(indptr int64, indices int32, data
float32)` with sorted, unique columns, so that each kernel is compiled for one signature only.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

FloatArray: TypeAlias = npt.NDArray[np.float32]
DoubleArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int32]
LongArray: TypeAlias = npt.NDArray[np.int64]
ByteArray: TypeAlias = npt.NDArray[np.uint8]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Csr: TypeAlias = Any
"""`scipy.sparse.csr_matrix` (or `csr_array`); SciPy ships no types."""


class SparseRows(NamedTuple):
    """A CSR matrix as its three arrays, columns sorted and unique within each row."""

    indptr: LongArray
    indices: IntArray
    data: FloatArray


def sparse_rows(matrix: Csr) -> SparseRows:
    """The arrays of a CSR matrix in the one layout the kernels are compiled for.

    The matrix itself is never changed; explicit zeros are kept (drop them if they mean "absent").
    """
    if not (matrix.has_sorted_indices and matrix.has_canonical_format):
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return SparseRows(
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )


def empty_rows(rows: int, columns: int) -> Csr:
    """A CSR matrix `(rows, columns) float32` that holds nothing."""
    return sp.csr_matrix((rows, columns), dtype=np.float32)


def has_vector(rows: FloatArray) -> BoolArray:
    """Whether each row of `(n, d)` is more than zeros, bool `(n,)`."""
    present = np.zeros(rows.shape[0], np.bool_)
    rest, start, width = np.arange(rows.shape[0]), 0, 1
    # Most vectors show themselves early: only the others' further entries are looked at.
    while rest.size and start < rows.shape[1]:
        found = (rows[rest, start : start + width] != 0).any(axis=1)
        present[rest[found]] = True
        rest, start, width = rest[~found], start + width, 4 * width
    return present


def values_at(rows: SparseRows, indptr: LongArray, columns: IntArray) -> FloatArray:
    """Values of a sparse matrix at ragged (row, column) pairs; 0 where nothing is stored.

    `indptr` int64 `(rows + 1,)` and `columns` int32 `(nnz,)` list, for each row, the columns that
    are asked for. Returns float32 `(nnz,)`.
    """
    out = np.zeros(columns.shape[0], np.float32)
    _values_at(rows.indptr, rows.indices, rows.data, indptr, columns, out)
    return out


def stored_at(rows: SparseRows, indptr: LongArray, columns: IntArray) -> BoolArray:
    """Whether the matrix stores an entry (of any value) at ragged (row, column) pairs."""
    ones = np.ones(rows.indices.shape[0], np.float32)
    return values_at(SparseRows(rows.indptr, rows.indices, ones), indptr, columns) > 0


@njit(cache=True, nogil=True)
def _values_at(
    indptr: Any, indices: Any, data: Any, asked_indptr: Any, asked: Any, out: Any
) -> None:
    for row in range(asked_indptr.shape[0] - 1):
        stop = indptr[row + 1]
        for position in range(asked_indptr[row], asked_indptr[row + 1]):
            low = indptr[row]
            high = stop
            while low < high:
                middle = (low + high) // 2
                if indices[middle] < asked[position]:
                    low = middle + 1
                else:
                    high = middle
            if low < stop and indices[low] == asked[position]:
                out[position] = data[low]
