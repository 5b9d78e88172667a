"""What a stage declares of its tables: rules, gathered in checks, gathered in a suite per table.

Plain values: nothing here knows Great Expectations, Dagster or a database.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias


@dataclass(frozen=True)
class NotNull:
    """The column always has a value."""

    column: str

    def __str__(self) -> str:
        return f"{self.column} has a value"


@dataclass(frozen=True)
class Unique:
    """The columns together name one row."""

    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.columns)}) names one row"


@dataclass(frozen=True)
class Between:
    """The column lies in [low, high]; None is no limit."""

    column: str
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        low, high = (("−∞" if self.low is None else self.low), self.high)
        return f"{self.column} is in [{low}, {'∞' if high is None else high}]"


@dataclass(frozen=True)
class Zero:
    """The column counts defects, of which there is none."""

    column: str
    meaning: str

    def __str__(self) -> str:
        return self.meaning


@dataclass(frozen=True)
class OneOf:
    """The column is one of the values."""

    column: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.column} is one of {', '.join(self.values)}"


@dataclass(frozen=True)
class Never:
    """No row of the table, `t`, meets the condition; `joined` may bring other tables into it.

    `{now}` in the condition is the platform's clock.
    """

    meaning: str
    condition: str
    joined: str = ""

    def __str__(self) -> str:
        return self.meaning


@dataclass(frozen=True)
class AtLeast:
    """The table has as many rows."""

    rows: int

    def __str__(self) -> str:
        return f"there are at least {self.rows:,} rows"


@dataclass(frozen=True)
class LikeBefore:
    """The table has about as many rows as a day ago: within the factor, or `slack` rows."""

    factor: float = 2.0
    slack: int = 100

    def __str__(self) -> str:
        return f"there are {1 / self.factor:g} to {self.factor:g} times the rows of a day ago"


@dataclass(frozen=True)
class Recent:
    """The newest row is no older; an empty table is nobody's fault."""

    column: str
    within: timedelta

    def __str__(self) -> str:
        hours = self.within / timedelta(hours=1)
        return f"the newest {self.column} is at most {hours:g} hours old"


Rule: TypeAlias = NotNull | Unique | Between | Zero | OneOf | Never | AtLeast | LikeBefore | Recent


@dataclass(frozen=True)
class Check:
    """Rules that pass or fail together, as one asset check; a warning never blocks."""

    name: str
    description: str
    rules: tuple[Rule, ...]
    is_blocking: bool = False
    is_warning: bool = False


@dataclass(frozen=True)
class Suite:
    """All checks of one table of schema `seda`; they stand with `asset`, by default the table's."""

    relation: str
    checks: tuple[Check, ...]
    asset: tuple[str, ...] = field(default=())

    @property
    def asset_key(self) -> tuple[str, ...]:
        """The path of the asset's key."""
        return self.asset or ("seda", self.relation)


def contents(*rules: Rule) -> Check:
    """The check that most tables have: what their columns may hold."""
    return Check("contents", "; ".join(map(str, rules)) + ".", rules)


ROW_COUNT = Check(
    "row_count",
    "About as many rows as a day ago; an import or a purge is a good reason for more or fewer.",
    (LikeBefore(),),
    is_warning=True,
)


def event_time(column: str, within: timedelta) -> Check:
    """The check that rows still come in, by their own time rather than that of the last run."""
    rule = Recent(column, within)
    return Check("event_time", f"{str(rule)[0].upper()}{str(rule)[1:]}.", (rule,), is_warning=True)
