"""What the Last.fm set means here: which of its tags are rooms, whose lists are playlists.

Pure: the read files in, a world of positions and ids out. Tags become genres of artists; a tag
that many use is also a room; what one user filed under one tag is a playlist.
"""

from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy import sparse

from seda.database.regions import Region
from seda.sandbox.identity import entity_ids, id_texts
from seda.sandbox.lastfm_files import LastfmData
from seda.sandbox.tables import Numbers
from seda.sandbox.world import (
    HOMES,
    NOWHERE,
    ArtistGenres,
    Artists,
    Catalogue,
    Friendships,
    Memberships,
    People,
    PlaylistArtists,
    Playlists,
    Plays,
    Positions,
    Rooms,
    World,
)

SOURCE: Final = "lastfm"
COLLECTED: Final = np.datetime64("2011-05-01", "D")
"""The set's release. It has totals and no times, so every count and row bears this one date."""
GENRES_PER_ARTIST: Final = 20
TOP_GENRES: Final = 5
ROOM_USERS: Final = 20
ROOM_ARTISTS: Final = 30
ROOM_USERS_AT_LEAST: Final = 5
"""A tag is a room if `ROOM_USERS` people used it; or if it is on `ROOM_ARTISTS` artists and not
the private word of fewer than `ROOM_USERS_AT_LEAST` people."""
ROOMS_PER_LISTENER: Final = 5
PLAYLIST_ARTISTS: Final = 3

Mask = NDArray[np.bool_]


def user_ids(data: LastfmData) -> NDArray[np.uint8]:
    """Our ids of the set's users, `(users, 16)` uint8."""
    return entity_ids("lastfm:user", data.users)


def artist_ids(data: LastfmData) -> NDArray[np.uint8]:
    """Our ids of the set's artists, `(artists, 16)` uint8."""
    return entity_ids("lastfm:artist", data.artists)


def lastfm_world(
    data: LastfmData, region: Region, *, erased: Mask | None = None, unlinked: Mask | None = None
) -> World:
    """Everything that the import writes.

    `erased` and `unlinked`, bool `(users,)`, are people whose account or imports were deleted:
    nothing that they did comes back, and of the erased not even their row.
    """
    nobody = np.zeros(len(data.users), bool)
    erased = nobody if erased is None else erased
    silent = erased if unlinked is None else erased | unlinked
    heard = ~silent[data.listens[:, 0]]
    listens, plays = data.listens[heard], data.plays[heard]
    filed = data.listened_tags[~silent[data.listened_tags[:, 0]]]
    friends = data.friends[~silent[data.friends].any(axis=1)]
    weights, room_tags = _tag_weights(data), _room_tags(data)
    periods = np.full(len(listens), COLLECTED)
    return World(
        source=SOURCE,
        people=_people(data, region, erased),
        catalogue=Catalogue(
            _artists(data, weights),
            _artist_genres(data, weights),
            *_playlists(data, filed, listens, plays),
            _rooms(data, room_tags),
        ),
        friendships=Friendships(friends[:, 0], friends[:, 1], _moments(len(friends))),
        plays=(Plays("artist", listens[:, 0], listens[:, 1], periods, plays),),
        memberships=_memberships(data, room_tags, weights, filed, listens, plays),
    )


def _people(data: LastfmData, region: Region, erased: Mask) -> People:
    ids, count = user_ids(data), len(data.users)
    return People(
        ids=ids,
        auth_user_ids=id_texts(entity_ids("lastfm:auth", data.users)),
        external_ids=_external(data.users),
        display_names=[f"Listener {user}" for user in data.users],
        countries=[None] * count,
        time_zones=[None] * count,
        avatar_urls=[None] * count,
        preferences=[b"{}"] * count,
        privacy_settings=[b"{}"] * count,
        homes=np.where(erased, NOWHERE, HOMES.index(region)).astype(np.int8),
        created_at=_moments(count),
    )


def _tag_weights(data: LastfmData) -> sparse.csr_matrix:
    """(artists, tags) float32: log2(1 + taggers), so one person's word counts 1 and seven say 3;
    each artist keeps its `GENRES_PER_ARTIST` heaviest tags, the smaller tag id first."""
    artists, tags = data.artist_tags.T
    order = np.lexsort((tags, -data.taggers, artists))
    kept = order[_place_in_group(artists[order]) < GENRES_PER_ARTIST]
    weight = np.log2(1 + data.taggers[kept]).astype(np.float32)
    shape = (len(data.artists), len(data.tags))
    return sparse.csr_matrix((weight, (artists[kept], tags[kept])), shape=shape)


def _artists(data: LastfmData, weights: sparse.csr_matrix) -> Artists:
    listeners = np.bincount(data.listens[:, 1], minlength=len(data.artists))
    return Artists(
        ids=artist_ids(data),
        external_ids=_external(data.artists),
        names=data.artist_names,
        genres=[_top_genres(data, weights, artist) for artist in range(len(data.artists))],
        popularity=np.log1p(listeners) / np.log1p(max(1, listeners.max(initial=1))),
        languages=[None] * len(data.artists),
        created_at=_moments(len(data.artists)),
    )


def _top_genres(data: LastfmData, weights: sparse.csr_matrix, artist: int) -> list[str]:
    row = slice(weights.indptr[artist], weights.indptr[artist + 1])
    tags, heavy = weights.indices[row], weights.data[row]
    best = tags[np.lexsort((tags, -heavy))]
    return list(dict.fromkeys(data.tag_names[tag].lower() for tag in best))[:TOP_GENRES]


def _artist_genres(data: LastfmData, weights: sparse.csr_matrix) -> ArtistGenres:
    """The same weights by genre text; tags that differ only in case are one genre, the heavier."""
    heaviest: dict[tuple[int, str], float] = {}
    pairs = weights.tocoo()
    for artist, tag, weight in zip(
        pairs.row.tolist(), pairs.col.tolist(), pairs.data.tolist(), strict=True
    ):
        key = (artist, data.tag_names[tag].lower())
        heaviest[key] = max(weight, heaviest.get(key, 0.0))
    return ArtistGenres(
        artists=np.array([artist for artist, _ in heaviest], np.int32),
        genres=[genre for _, genre in heaviest],
        weights=np.array(list(heaviest.values()), np.float32),
    )


def _room_tags(data: LastfmData) -> Positions:
    """The tags that are rooms, ascending."""
    users = np.bincount(data.user_tags[:, 1], minlength=len(data.tags))
    artists = np.bincount(data.artist_tags[:, 1], minlength=len(data.tags))
    broad = (artists >= ROOM_ARTISTS) & (users >= ROOM_USERS_AT_LEAST)
    return np.flatnonzero((users >= ROOM_USERS) | broad).astype(np.int32)


def _rooms(data: LastfmData, room_tags: Positions) -> Rooms:
    return Rooms(
        ids=entity_ids("lastfm:room", data.tags[room_tags]),
        external_ids=_external(data.tags[room_tags]),
        names=[data.tag_names[tag] for tag in room_tags],
        creators=np.full(len(room_tags), -1, np.int32),
        genres=[data.tag_names[tag].lower() for tag in room_tags],
        languages=[None] * len(room_tags),
        created_at=_moments(len(room_tags)),
    )


def _memberships(
    data: LastfmData,
    room_tags: Positions,
    weights: sparse.csr_matrix,
    filed: Positions,
    listens: Positions,
    plays: Numbers,
) -> Memberships:
    """Whoever gave the room's tag to an artist that they listen to, and those for whom it is among
    their `ROOMS_PER_LISTENER` heaviest rooms by log plays times the artist's share of the tag."""
    room_of = np.full(len(data.tags), -1, np.int32)
    room_of[room_tags] = np.arange(len(room_tags))
    used = np.column_stack([room_of[filed[:, 2]], filed[:, 0]])
    shape = (len(data.users), len(data.artists))
    heard = sparse.csr_matrix((np.log1p(plays), (listens[:, 0], listens[:, 1])), shape=shape)
    totals = np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-9)
    shares = sparse.diags(1 / totals) @ weights[:, room_tags]
    liking = (heard @ shares).toarray()
    best = np.argsort(-liking, axis=1, kind="stable")[:, :ROOMS_PER_LISTENER]
    users = np.repeat(np.arange(len(data.users)), best.shape[1])
    liked = np.column_stack([best.ravel(), users])[np.take_along_axis(liking, best, 1).ravel() > 0]
    pairs = np.unique(np.concatenate([used[used[:, 0] >= 0], liked]).astype(np.int32), axis=0)
    return Memberships(pairs[:, 0], pairs[:, 1], _moments(len(pairs)), _moments(len(pairs)))


def _playlists(
    data: LastfmData, filed: Positions, listens: Positions, plays: Numbers
) -> tuple[Playlists, PlaylistArtists]:
    """A list per (user, tag) with at least `PLAYLIST_ARTISTS` artists, most played first."""
    artists = len(data.artists)
    pair = listens[:, 0].astype(np.int64) * artists + listens[:, 1]
    by_pair = np.argsort(pair)
    played = plays[by_pair][
        np.searchsorted(pair[by_pair], filed[:, 0].astype(np.int64) * artists + filed[:, 1])
    ]
    listed = filed[np.lexsort((filed[:, 1], -played, filed[:, 2], filed[:, 0]))]
    owned, list_of = np.unique(listed[:, [0, 2]], axis=0, return_inverse=True)
    sizes = np.bincount(list_of.ravel(), minlength=len(owned))
    long = sizes >= PLAYLIST_ARTISTS
    number = np.where(long, np.cumsum(long) - 1, -1)[list_of.ravel()]
    entries = number >= 0
    keys = [f"{data.users[user]}-{data.tags[tag]}" for user, tag in owned[long]]
    tags = [data.tag_names[tag] for tag in owned[long, 1]]
    playlists = Playlists(
        ids=entity_ids("lastfm:playlist", keys),
        external_ids=[orjson.dumps({SOURCE: key}) for key in keys],
        names=[f"{_capitalised(tag)} mix" for tag in tags],
        owners=owned[long, 0].astype(np.int32),
        provider=SOURCE,
        track_counts=sizes[long].astype(np.int32),
        genres=[tag.lower() for tag in tags],
        languages=[None] * len(keys),
        public=np.ones(len(keys), bool),
        created_at=_moments(len(keys)),
    )
    return playlists, PlaylistArtists(
        playlists=number[entries].astype(np.int32),
        artists=listed[entries, 1].astype(np.int32),
        places=(_place_in_group(number[entries]) + 1).astype(np.int32),
    )


def _capitalised(tag: str) -> str:
    """ "80s new wave" → "80s New Wave"."""
    return " ".join(word[:1].upper() + word[1:] for word in tag.split())


def _place_in_group(groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """The place of each entry among its equals, which stand together, from 0."""
    starts = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1)) if len(groups) else groups
    lengths = np.diff(np.append(starts, len(groups)))
    return np.arange(len(groups)) - np.repeat(starts, lengths)


def _external(ids: Numbers) -> list[bytes]:
    return [orjson.dumps({SOURCE: str(one)}) for one in ids.tolist()]


def _moments(count: int) -> NDArray[np.datetime64]:
    return np.full(count, COLLECTED.astype("M8[us]"))
