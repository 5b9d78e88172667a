"""Reads the catalogue of one region and writes down each entity's text for an embedder."""

from collections.abc import Iterable

import numpy as np
import psycopg

from seda.embeddings.texts import artist_text, playlist_text, room_text

# How many of a playlist's artists its text and its tags are made from.
PLAYLIST_ARTISTS = 10

_ARTISTS = """
    select a.id, a.name, coalesce(g.weights, '{}') from seda.artists a
    left join (select artist_id, jsonb_object_agg(genre, weight) as weights
               from seda.artist_genres group by artist_id) g on g.artist_id = a.id
    where a.deleted_at is null order by a.id"""
_PLAYLISTS = """
    with first_artists as (
        select playlist_id, artist_id, position from seda.playlist_artists where position <= %(n)s
    ), weights as (
        select playlist_id, jsonb_object_agg(genre, weight) as weights from (
            select f.playlist_id, g.genre, sum(g.weight) as weight
            from first_artists f join seda.artist_genres g using (artist_id)
            group by f.playlist_id, g.genre) each
        group by playlist_id
    ), names as (
        select f.playlist_id, array_agg(a.name order by f.position) as names
        from first_artists f join seda.artists a on a.id = f.artist_id group by f.playlist_id)
    select p.id, p.name, p.genre, coalesce(w.weights, '{}'), coalesce(n.names, '{}')
    from seda.playlists p
    left join weights w on w.playlist_id = p.id left join names n on n.playlist_id = p.id
    where p.deleted_at is null and p.visibility = 'public' order by p.id"""
_ROOMS = "select id, name, genre from seda.rooms where deleted_at is null order by id"


def load_texts(connection: psycopg.Connection, entity_type: str) -> tuple[np.ndarray, list[str]]:
    """Every public entity of one type: ids (n, 16) uint8 and its text, in the order of the ids."""
    ids: list[bytes] = []
    texts: list[str] = []
    with connection.cursor(binary=True) as cursor:
        for identifier, text in _each(cursor, entity_type):
            ids.append(identifier)
            texts.append(text)
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16), texts


def _each(cursor: psycopg.Cursor, entity_type: str) -> Iterable[tuple[bytes, str]]:
    if entity_type == "artist":
        for identifier, name, weights in cursor.execute(_ARTISTS):
            yield identifier.bytes, artist_text(name, weights)
    elif entity_type == "playlist":
        for identifier, name, genre, weights, artists in cursor.execute(
            _PLAYLISTS, {"n": PLAYLIST_ARTISTS}
        ):
            if genre:
                # Its own genre says at least as much as the commonest of its artists.
                weights = {**weights, genre: max(weights.values(), default=1.0)}
            yield identifier.bytes, playlist_text(name, weights, artists)
    else:
        for identifier, name, genre in cursor.execute(_ROOMS):
            yield identifier.bytes, room_text(name, genre, {})
