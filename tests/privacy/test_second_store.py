"""A second vector store forgets who is deleted, and is searched like any other place."""

from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from seda.database.regions import Databases, Region
from seda.privacy.erasure import Places
from seda.privacy.second_store import sweep_second_store
from seda.privacy.traces import Traces
from seda.privacy.verification import verify_erasure
from tests.privacy.full_world import EMAIL, NAME, VECTOR, ask_for_deletion, run_jobs
from tests.serving.serving_world import Listener, World

PLAYLISTS, ARTISTS = "seda_playlist_0123_blue", "seda_artist_0123_blue"


@pytest.fixture
def qdrant(places: Places, tmp_path: Path) -> Places:
    """The same places with a Qdrant for the EU, a folder."""
    settings = places.databases.settings.model_copy(
        update={"eu_qdrant_url": str(tmp_path / "qdrant")}
    )
    return Places(Databases(settings), places.storages)


@pytest.fixture
def ada(world: World) -> Listener:
    return world.person(NAME, Region.EU)


def opened(places: Places) -> closing[QdrantClient]:
    return closing(QdrantClient(path=places.databases.settings.eu_qdrant_url))


def fill(client: QdrantClient, **points: list[models.PointStruct]) -> None:
    size = models.VectorParams(size=len(VECTOR), distance=models.Distance.COSINE)
    for name, each in points.items():
        if not client.collection_exists(name):
            client.create_collection(name, vectors_config=size)
        client.upsert(name, each, wait=True)


def point(id: UUID, vector=None, **payload: object) -> models.PointStruct:
    direction = np.cos(np.arange(len(VECTOR))) if vector is None else np.array(vector)
    return models.PointStruct(id=str(id), vector=direction.tolist(), payload=payload)


def sweep(places: Places, ada: Listener, *more: UUID) -> set[tuple[str, str, str]]:
    traces = Traces((ada.id, *more), (EMAIL,), (VECTOR,))
    found = sweep_second_store(places.databases.settings, Region.EU, traces)
    return {(each.place, each.name, each.what) for each in found}


def test_points_of_who_is_deleted_and_of_their_playlists_go_and_no_others(
    world: World, qdrant: Places, ada: Listener
) -> None:
    mine, theirs = (world.entity("playlist", name).id for name in ("a", "b"))
    world.sql(
        "update seda.playlists set owner_user_id = %s, visibility = 'private' where id = %s",
        *(ada.id, mine),
        region=Region.EU,
    )
    deleted_before, artist = uuid4(), uuid4()
    with opened(qdrant) as client:
        fill(
            client,
            **{
                PLAYLISTS: [point(each) for each in (mine, theirs, deleted_before)],
                ARTISTS: [point(artist), point(ada.id, np.array(VECTOR) * 3)],
            },
        )
    assert sweep(qdrant, ada, mine) >= {
        ("eu Qdrant", ARTISTS, "user id as text"),
        ("eu Qdrant", ARTISTS, "vector 1"),
        ("eu Qdrant", PLAYLISTS, "id 2 as text"),
        ("eu Qdrant files", ARTISTS, "user id as text"),
    }
    ask_for_deletion(world, ada)
    assert run_jobs(qdrant).jobs == {"delete completed": 1}
    with opened(qdrant) as client:
        left = {
            name: {str(each.id) for each in client.scroll(name)[0]} for name in (PLAYLISTS, ARTISTS)
        }
    assert left == {PLAYLISTS: {str(theirs)}, ARTISTS: {str(artist)}}
    assert sweep(qdrant, ada, mine, deleted_before) == set()


def test_residue_in_payloads_vectors_and_names_is_found(
    world: World, qdrant: Places, ada: Listener
) -> None:
    with opened(qdrant) as client:
        fill(
            client,
            **{
                f"of_{ada.id.hex}": [point(uuid4())],
                ARTISTS: [point(uuid4(), by={"mail": [EMAIL]}), point(uuid4(), VECTOR)],
            },
        )
    found = sweep(qdrant, ada)
    assert {each for each in found if "files" not in each[0]} == {
        ("eu Qdrant", "(its name)", "user id as text"),
        ("eu Qdrant", ARTISTS, "text 1"),
        ("eu Qdrant", ARTISTS, "vector 1"),
    }
    assert ada.id.hex not in str(found)


def test_a_store_that_cannot_be_opened_holds_the_deletion_up_and_is_said(
    world: World, qdrant: Places, ada: Listener
) -> None:
    ask_for_deletion(world, ada)
    with opened(qdrant) as client:
        fill(client, **{ARTISTS: [point(ada.id)]})
        assert run_jobs(qdrant).jobs == {"delete queued": 1}
        found = verify_erasure(
            qdrant.databases, qdrant.storages, Traces((ada.id,)), server_files=False
        )
        (unseen,) = [each for each in found.unseen if each.startswith("eu Qdrant")]
        assert "Another process has" in unseen
    world.sql("update seda.privacy_jobs set next_attempt_at = now()", region=Region.EU)
    assert run_jobs(qdrant).jobs == {"delete completed": 1}
    found = verify_erasure(qdrant.databases, qdrant.storages, Traces((ada.id,)), server_files=False)
    assert "eu Qdrant" in found.places
    assert not [each for each in found.findings if "Qdrant" in each.place]
