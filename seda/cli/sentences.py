"""Turns whatever goes wrong outside the program into one sentence on stderr and exit status 1.

A mistake in the program stays a traceback: somebody has to read it.
"""

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from seda.errors import SedaError

_UNREADABLE_URL = (
    "A database URL cannot be read: write SEDA_DATABASE_URL, SEDA_EU_DATABASE_URL and "
    "SEDA_DAGSTER_DATABASE_URL as postgresql://user@host/database."
)


class Sentences(TyperGroup):
    """The group of all commands; failures leave it as a sentence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read our output has seen enough; what is left to flush goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as problem:
            sentence = sentence_of(problem)
            if sentence is None:
                raise
            typer.echo(sentence, err=True)
            raise typer.Exit(1) from problem


def sentence_of(problem: BaseException) -> str | None:
    """What to tell the person; None for what is no failure of the world around us."""
    if isinstance(problem, SedaError):
        return str(problem)
    if isinstance(problem, OSError) and problem.strerror:
        where = f" {problem.filename}" if problem.filename else ""
        return (
            f"The file system refuses{where} ({problem.strerror}): free some space, correct the "
            "permissions, or set SEDA_HOME to another folder."
        )
    return _sentence_of_settings(problem) or _sentence_of_database(problem)


def _sentence_of_settings(problem: BaseException) -> str | None:
    # Only what is loaded can have raised: nothing is imported for the sake of its exceptions.
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(problem, pydantic.ValidationError):
        return None
    first = problem.errors(include_input=False)[0]
    setting = _setting_at(first["loc"])
    return f"{setting} is not usable ({first['msg']}): correct it in the environment or in .env."


def _setting_at(location: tuple[int | str, ...]) -> str:
    """The variable's name; a location is a field's name, or already that of the variable."""
    from seda.settings import Settings, environment_name

    name = "_".join(str(part) for part in location)
    return environment_name(name) if name in Settings.model_fields else name.upper()


def _sentence_of_database(problem: BaseException) -> str | None:
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    if sqlalchemy is not None:
        if isinstance(problem, sqlalchemy.ArgumentError):
            return _UNREADABLE_URL
        if isinstance(problem, sqlalchemy.DBAPIError):
            problem = problem.orig or problem
    psycopg = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(problem, psycopg.Error):
        return None
    reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
    if isinstance(problem, psycopg.errors.UndefinedTable):
        return "The database is not migrated: run `seda migrate` first."
    if isinstance(
        problem, psycopg.errors.InsufficientPrivilege | psycopg.errors.FeatureNotSupported
    ):
        return (
            f"The database refuses what the platform needs ({reason}): see the README for what a "
            "server and its user must be able to do."
        )
    if isinstance(problem, psycopg.OperationalError):
        return (
            f"The database does not do its work ({reason}): check SEDA_DATABASE_URL, the server "
            "and its free space."
        )
    # Without a code of the server it is about the connection's own parameters.
    return _UNREADABLE_URL if problem.sqlstate is None else None
