"""The header of a SQL model: the comment lines above the `SELECT`, in dbt's vocabulary.

Each line is `-- field: value`; a line indented by three spaces or more continues the one above.
Values are text, `[a, b]` lists of names, or `{column: [value, value]}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from seda.errors import SedaError

REQUIRED: Final = ("materialized", "owner", "description", "group", "unique")
OPTIONAL: Final = (
    "not_null", "accepted_values", "touched", "per", "event_time", "lookback", "goal",
)  # fmt: skip

GOAL: Final = re.compile(r"at (least|most) (0(?:\.\d+)?|1)")

_FIELD: Final = re.compile(r"-- ([a-z_]+):(?: (.*))?")
_CONTINUED: Final = re.compile(r"--   +(\S.*)")
_OWNER: Final = re.compile(r"team:[a-z0-9_-]+|[^@\s]+@[^@\s]+")
_LIST: Final = re.compile(r"\[([^\[\]]*)\]")
_ACCEPTED: Final = re.compile(r"\s*(\w+)\s*:\s*\[([^\[\]]*)\]\s*(?:,|$)")


class SqlModelError(SedaError):
    """A SQL model cannot be used as it is written; the sentence opens with file and line."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(f"{path}:{line}: {problem}" if line else f"{path}: {problem}")


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What a model says about itself.

    `unique` is the key that rows are merged by; `not_null` and `accepted_values` are checked
    before anything is written. `touched` names the time column that follows a change of any other
    column; `per` is `user` when the model can be computed for some people alone.

    An `incremental` model says what `event_time`, a date of its key, is on the last `lookback` days
    (UTC, today's included) alone: older rows stay, although what they were made of is gone. `goal`
    is what an operator wants of a share, such as `at least 0.2`.
    """

    materialized: str
    owner: str
    description: str
    group: str
    unique: tuple[str, ...]
    not_null: tuple[str, ...] = ()
    accepted_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    touched: str | None = None
    per: str | None = None
    event_time: str | None = None
    lookback: int | None = None
    goal: str | None = None

    @property
    def columns(self) -> frozenset[str]:
        """Every column that the header names."""
        named = {*self.unique, *self.not_null, *self.accepted_values}
        return frozenset(named.union(filter(None, (self.touched, self.event_time))))


def read_header(path: Path, text: str) -> ModelHeader:
    """The header at the top of a model's text.

    Raises:
        SqlModelError: a field is missing, unknown, given twice or malformed.
    """
    fields, lines = _read_fields(path, text)
    for name in REQUIRED:
        if not fields.get(name):
            raise SqlModelError(
                path, lines.get(name), f"the header lacks '{name}'; add a line '-- {name}: …'."
            )
    header = ModelHeader(
        materialized=fields["materialized"],
        owner=fields["owner"],
        description=fields["description"],
        group=fields["group"],
        unique=_names(path, lines["unique"], fields["unique"]),
        not_null=_names(path, lines.get("not_null"), fields.get("not_null", "[]")),
        accepted_values=_accepted(path, lines.get("accepted_values"), fields),
        touched=fields.get("touched"),
        per=fields.get("per"),
        event_time=fields.get("event_time"),
        lookback=_days(path, lines.get("lookback"), fields.get("lookback")),
        goal=fields.get("goal"),
    )
    _refuse_bad_values(path, header, lines)
    return header


def _read_fields(path: Path, text: str) -> tuple[dict[str, str], dict[str, int]]:
    """Each field's text and its line, up to the first line that is no comment."""
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    name = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("--"):
            break
        if match := _FIELD.fullmatch(line.rstrip()):
            name = match[1]
            if name not in REQUIRED + OPTIONAL:
                known = ", ".join(REQUIRED + OPTIONAL)
                raise SqlModelError(path, number, f"unknown header field '{name}'; use {known}.")
            if name in fields:
                raise SqlModelError(path, number, f"the header gives '{name}' twice.")
            fields[name], lines[name] = match[2] or "", number
        elif name and (match := _CONTINUED.fullmatch(line.rstrip())):
            fields[name] = f"{fields[name]} {match[1]}".strip()
        else:
            raise SqlModelError(
                path, number, "a header line is '-- field: value', or '--   more' to continue one."
            )
    return fields, lines


def _days(path: Path, line: int | None, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or not int(value):
        raise SqlModelError(path, line, f"lookback is a number of days, not {value!r}.")
    return int(value)


def _names(path: Path, line: int | None, value: str) -> tuple[str, ...]:
    match = _LIST.fullmatch(value.strip())
    if not match:
        raise SqlModelError(path, line, f"write a list such as [user_id, rank], not {value!r}.")
    return tuple(part.strip() for part in match[1].split(",") if part.strip())


def _accepted(
    path: Path, line: int | None, fields: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    value = fields.get("accepted_values", "{}").strip()
    inner = value[1:-1].strip()
    columns = {match[1]: match[2] for match in _ACCEPTED.finditer(inner)}
    if not value.startswith("{") or not value.endswith("}") or _ACCEPTED.sub("", inner).strip():
        raise SqlModelError(
            path, line, f"write accepted values such as {{kind: [a, b]}}, not {value!r}."
        )
    return {column: _names(path, line, f"[{values}]") for column, values in columns.items()}


def _refuse_bad_values(path: Path, header: ModelHeader, lines: Mapping[str, int]) -> None:
    if header.materialized not in ("merge", "incremental"):
        raise SqlModelError(
            path,
            lines["materialized"],
            f"materialized is 'merge' or 'incremental', not {header.materialized!r}.",
        )
    _refuse_bad_increments(path, header, lines)
    if header.goal is not None and not GOAL.fullmatch(header.goal):
        raise SqlModelError(
            path, lines["goal"], f"a goal is 'at least 0.2' or 'at most 0.2', not {header.goal!r}."
        )
    if not _OWNER.fullmatch(header.owner):
        raise SqlModelError(
            path, lines["owner"], f"the owner is an e-mail or team:name, not {header.owner!r}."
        )
    if not header.unique:
        raise SqlModelError(path, lines["unique"], "unique needs a column to merge rows by.")
    if header.touched in header.unique:
        raise SqlModelError(path, lines["touched"], "the touched column cannot be part of the key.")
    if header.per not in (None, "user"):
        raise SqlModelError(path, lines["per"], f"per is 'user' or left out, not {header.per!r}.")


def _refuse_bad_increments(path: Path, header: ModelHeader, lines: Mapping[str, int]) -> None:
    asked = header.event_time is not None, header.lookback is not None
    wanted = header.materialized == "incremental"
    if asked != (wanted, wanted):
        raise SqlModelError(
            path, lines["materialized"], "incremental models, and no others, have an event_time "
            "and a lookback.",
        )  # fmt: skip
    if wanted and header.event_time not in header.unique:
        raise SqlModelError(path, lines["event_time"], "the event_time is a part of the key.")
    if wanted and header.per:
        raise SqlModelError(path, lines["per"], "an incremental model is not computed per user.")
