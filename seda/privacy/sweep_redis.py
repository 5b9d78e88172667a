"""Searches Redis for a person: names of keys, and values of every type."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import coredis

from seda.privacy.sweep_database import Finding
from seda.privacy.traces import Traces

_SECONDS: Final = 5


def sweep_redis(url: str, traces: Traces) -> Iterator[Finding]:
    """Every key of the database that the address names.

    Raises:
        coredis.exceptions.RedisError, OSError: it does not answer.
    """
    yield from asyncio.run(_swept(url, traces))


async def _swept(url: str, traces: Traces) -> list[Finding]:
    found: list[Finding] = []
    store = coredis.Redis.from_url(url, connect_timeout=_SECONDS, stream_timeout=_SECONDS)
    try:
        async for key in store.scan_iter(count=1000):
            name = bytes(key)
            found += [Finding("Redis", "(its name)", what) for what in traces.in_bytes(name)]
            content = await _value(store, name)
            found += [Finding("Redis", _family(name), what) for what in traces.in_file(content)]
    finally:
        store.connection_pool.disconnect()
    return found


def _family(key: bytes) -> str:
    """The beginning of a key's name, which is no person's."""
    return key.split(b":")[0].decode("ascii", "replace")[:40]


async def _value(store: Any, key: bytes) -> bytes:
    parts: Any = ()
    match await store.type(key):
        case b"string":
            parts = [await store.get(key) or b""]
        case b"hash":
            parts = [part for pair in (await store.hgetall(key)).items() for part in pair]
        case b"list":
            parts = await store.lrange(key, 0, -1)
        case b"set":
            parts = await store.smembers(key)
        case b"zset":
            parts = await store.zrange(key, 0, -1)
        case b"stream":
            entries = await store.xrange(key)
            parts = [
                part for each in entries for pair in each.field_values.items() for part in pair
            ]
    return b"\n".join(bytes(part) for part in parts)
