"""Connections kept open between searches: opening one costs as much as several searches."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from pgvector.psycopg import register_vector

from seda.database.regions import RegionalDatabase


class IdleConnections:
    """One region's connections, each used by one transaction at a time; safe between threads."""

    def __init__(self, database: RegionalDatabase) -> None:
        self._database = database
        self._idle: deque[psycopg.Connection] = deque()

    @contextmanager
    def held(self) -> Iterator[psycopg.Connection]:
        """An idle connection, or a new one, in autocommit: what it sets stays set on it."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._database.connect(autocommit=True)
            register_vector(connection)
        try:
            yield connection
        finally:
            if connection.closed or connection.broken:
                connection.close()
            else:
                self._idle.append(connection)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """One transaction on a held connection."""
        with self.held() as connection, connection.transaction():
            yield connection

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()
