"""The durable lane beside the people of a drill: Dagster ranks the lists of who has friends there.

Everybody has a published list of rooms; the daemon reads what happens, and is killed like the rest.
"""

from datetime import UTC, datetime

import dagster as dg

from benchmarks.drills.kills import Scene, Service, Tables, steps_of
from benchmarks.drills.room_lists import publish_rooms
from seda.activity.snapshot import FromSnapshot
from seda.activity.social_events import next_range
from seda.cli.services import child_environment
from seda.database.arrays import pack
from seda.database.identifiers import ids_of
from seda.database.regions import Region
from seda.database.storage import storages
from seda.publishing.overlays import CONSUMER
from seda.recommender.learned import LearnedRankers
from seda.recommender.ranking import LinearWeights
from seda.sandbox.replay.expectation import Graph
from seda.settings import REPOSITORY
from seda_assets.assets.realtime import realtime_rankings
from seda_assets.automation.jobs import realtime
from seda_assets.automation.presence_sensor import presence_events
from seda_assets.regional_files import RegionalFiles
from seda_assets.resources import Platform

VERSION = "linear-design-1"
LISTED = 50
# Who is known to be where, by the overlays: the places owe it to friends.
_OVERLAYS = """
    select r.user_id, seen.room_id
    from seda.realtime_rankings r
    join seda.mv_user_top_candidates m using (generation, user_id, entity_type)
    cross join lateral unnest(m.entity_ids, r.presence) as seen(room_id, presence)
    where seen.presence > 0 order by 1, 2
"""
_LISTED = """
    select m.user_id, room_id from seda.mv_user_top_candidates m
    cross join lateral unnest(m.entity_ids) as room_id where m.entity_type = 'room'
"""
_UNREAD = """
    select count(*) from seda.social_events e
    where e.kind in ('join', 'leave') and e.transaction_id >= coalesce(
        (select transaction_id from seda.event_cursors where consumer = %s), '0'::xid8)
"""


def definitions() -> dg.Definitions:
    """The lane alone: what else the platform does would only take time from it."""
    platform = Platform()
    return dg.Definitions(
        assets=[dg.AssetSpec("learned_rankers"), realtime_rankings],
        jobs=[realtime],
        sensors=[presence_events],
        resources={"platform": platform, "io_manager": RegionalFiles(platform)},
    )


class DurableLane:
    """Lists for everybody of a scene, and the daemon, one more of the scene's victims."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        crowd, database = scene.crowd, scene.databases[Region.GLOBAL]
        publish_rooms(
            database, ids_of(crowd.people), ids_of(crowd.rooms), ranker=LinearWeights(),
            version=VERSION, pool=len(crowd.rooms), listed=LISTED, now=datetime.now(UTC),
        )  # fmt: skip
        nothing = pack(FromSnapshot("drill", {"room": LearnedRankers.nothing()}))
        for region, storage in storages(scene.settings).items():
            storage.put_arrays(f"learned_rankers/{region}", nothing)
        home = scene.settings.home_directory()
        workspace = home / "workspace.yaml"
        workspace.write_text(
            f"load_from:\n  - python_module: {{module_name: {__name__}, "
            f"working_directory: {REPOSITORY}, attribute: definitions}}\n"
        )
        environment = {
            **child_environment(scene.settings, scene.databases),
            "SEDA_GLOBAL_SHARDS": str(scene.settings.global_shards),
        }
        command = f"dagster._daemon run -w {workspace}"
        scene.services["daemon"] = Service(command, environment, home / "daemon.log")

    def caught_up(self) -> bool:
        """Whether the lane has read every event."""
        with self._scene.databases[Region.GLOBAL].connect() as connection:
            (unread,) = connection.execute(_UNREAD, [CONSUMER]).fetchone()
            return unread == 0 and not next_range(connection, CONSUMER).events

    def known(self) -> Tables:
        """Whom the overlays know to be where."""
        with self._scene.databases[Region.GLOBAL].connect() as connection:
            return {"realtime_rankings": connection.execute(_OVERLAYS).fetchall()}

    def asked_for(self) -> Tables:
        """The same from the clients' steps and the friend graph alone."""
        crowd, size = self._scene.crowd, self._scene.size
        viewers = crowd.viewers(size.clients, size.seed).tolist()
        rooms = {
            viewers[client]: steps[-1].room_id for client, steps in steps_of(crowd, size).items()
        }
        friends = friends_both_ways(crowd.graph)
        with self._scene.databases[Region.GLOBAL].connect() as connection:
            listed = set(connection.execute(_LISTED).fetchall())
        rows = [
            (crowd.people[who], rooms[friend])
            for who, friend in friends
            if friend in rooms and not crowd.graph.hidden[friend]
        ]
        return {"realtime_rankings": sorted({row for row in rows if row in listed})}


def friends_both_ways(graph: Graph) -> set[tuple[int, int]]:
    """(who, friend) of whom either may know where the other is, who hides included."""
    friends, blocks = (set(map(tuple, pairs.tolist())) for pairs in (graph.friends, graph.blocks))
    return {
        (one, other)
        for one, other in friends
        if (other, one) in friends and not {(one, other), (other, one)} & blocks
    }
