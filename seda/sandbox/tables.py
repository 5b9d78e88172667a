"""A text table that knows its lines: every refusal names the file and the line number.

Reads comma- or tab-separated files with a header, gzipped or not, and turns columns into arrays.
What the columns mean is not known here.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from seda.errors import SedaError
from seda.sandbox.world import Positions

Numbers = NDArray[np.int64]

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


class MalformedFileError(SedaError):
    """A file, or a line of it, is not as it should be; the message says which and why."""


@dataclass(frozen=True, eq=False)
class Known:
    """The ids that exist: `ids` int64 ascending; `where` says which file lists them."""

    noun: str
    where: str
    ids: Numbers

    def positions(self, values: Numbers) -> Positions:
        """The position of each value in `ids`, or -1."""
        if not len(self.ids):
            return np.full(len(values), -1, np.int32)
        found = np.minimum(np.searchsorted(self.ids, values), len(self.ids) - 1)
        return np.where(self.ids[found] == values, found, -1).astype(np.int32)


class Table:
    """The rows of one file below its header, which must have the wanted columns, in any order.

    Raises:
        MalformedFileError: unreadable file, missing column, or a row of another width; the last
            `optional` columns of a row may be missing.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, optional: int = 0) -> None:
        self.name = path.name
        self.columns = list(columns)
        self._lines: list[int] = []
        cells: list[list[str]] = []
        rows = _rows(path)
        line, header = next(rows, (1, []))
        lacking = [column for column in columns if column not in header]
        if lacking:
            raise MalformedFileError(
                f"{self.name} line {line}: the header has no column {', '.join(lacking)}; it must "
                f"have {', '.join(columns)}."
            )
        wanted = [header.index(column) for column in columns]
        width = len(header)
        for line, row in rows:
            if not width - optional <= len(row) <= width:
                raise MalformedFileError(
                    f"{self.name} line {line}: {len(row)} columns where the header has {width}; "
                    "correct or remove the line."
                )
            self._lines.append(line)
            row += [""] * (width - len(row))
            cells.append([row[index] for index in wanted])
        self._cells: list[tuple[str, ...]] = (
            list(zip(*cells, strict=True)) if cells else [()] * len(wanted)
        )

    def __len__(self) -> int:
        return len(self._lines)

    def refuse(self, row: int, why: str) -> NoReturn:
        """Raise, naming the row's line."""
        raise MalformedFileError(f"{self.name} line {self._lines[row]}: {why}.")

    def integers(self, column: str, *, least: int = 0) -> Numbers:
        """A column of whole numbers of at least `least`, int64."""
        texts = self._cells[self.columns.index(column)]
        values = np.empty(len(texts), np.int64)
        for row, text in enumerate(texts):
            if not _INTEGER.fullmatch(text):
                self.refuse(row, f"{column} is {text[:40]!r}, which is not a whole number")
            values[row] = int(text)
        low = np.flatnonzero(values < least)
        if len(low):
            self.refuse(int(low[0]), f"{column} is {values[low[0]]}, it must be at least {least}")
        return values

    def texts(self, column: str) -> list[str]:
        """A column of texts, none of them blank."""
        texts = [text.strip() for text in self._cells[self.columns.index(column)]]
        for row, text in enumerate(texts):
            if not text or "\x00" in text:
                self.refuse(row, f"{column} is {'unreadable' if text else 'blank'}")
        return texts

    def references(self, column: str, known: Known) -> Positions:
        """A column of ids as positions in `known`, all of which must exist."""
        values = self.integers(column)
        positions = known.positions(values)
        unknown = np.flatnonzero(positions < 0)
        if len(unknown):
            row = int(unknown[0])
            self.refuse(row, f"{known.noun} {values[row]} is not in {known.where}")
        return positions

    def distinct(self, what: str, *columns: NDArray[Any]) -> NDArray[Any]:
        """The columns side by side, `(rows, columns)`; no row may stand there twice."""
        together = np.column_stack(columns)
        _, first = np.unique(together, axis=0, return_index=True)
        if len(first) < len(together):
            again = np.setdiff1d(np.arange(len(together)), first)
            self.refuse(int(again[0]), f"this {what} stood on an earlier line already")
        return together

    def listing(self, noun: str, identifier: str, text: str) -> tuple[Known, list[str]]:
        """The ids that this file introduces, each once, and their texts in the same order."""
        values, texts = self.integers(identifier), self.texts(text)
        order = np.argsort(values, kind="stable")
        again = np.flatnonzero(np.diff(values[order]) == 0)
        if len(again):
            row = int(order[again + 1].min())
            self.refuse(row, f"{noun} {values[row]} stood on an earlier line already")
        return Known(noun, self.name, values[order]), [texts[row] for row in order]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number (from 1) and cells of each row that is not empty."""
    tabs = path.suffix == ".dat"
    reader = csv.reader(
        _text_lines(path),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=True,
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as problem:
        raise MalformedFileError(
            f"{path.name} line {reader.line_num}: {problem}; correct or remove the line."
        ) from problem
    except (OSError, EOFError, zlib.error) as problem:
        raise MalformedFileError(
            f"{path.name} line {reader.line_num + 1}: the file cannot be read further "
            f"({problem}); copy it again."
        ) from problem


def _text_lines(path: Path) -> Iterator[str]:
    """The lines as text: UTF-8, or Latin-1 where a line is not that."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file):
            try:
                text = line.decode("utf-8-sig" if number == 0 else "utf-8")
            except UnicodeDecodeError:
                text = line.decode("latin-1")
            yield text.rstrip("\r\n") + "\n"
