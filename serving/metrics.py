"""`/metrics`: what operators watch, in Prometheus' format; numbers only, nobody's rows.

This process's requests and connections, and what the databases know of the embeddings.
"""

import asyncio

import asyncpg
import orjson
from fastapi import APIRouter
from starlette.responses import Response

from seda.database.regions import Region
from seda.observability.metrics import CONTENT_TYPE, Sample, exposition
from serving.documentation import METRICS_RESPONSES
from serving.problems import ProblemError
from serving.services import Services, WithServices

router = APIRouter(tags=["health"])

_HEALTH = "select metric, labels, amount from seda.embedding_health($1)"


@router.get("/metrics", summary="Metrics for Prometheus", responses=METRICS_RESPONSES)
async def metrics(services: WithServices) -> Response:
    """A region whose database is down shows as down; the others are still told."""
    told = await asyncio.gather(*(_of_region(services, region) for region in Region))
    databases = exposition(sample for samples in told for sample in samples)
    return Response(services.telemetry.exposition() + databases, media_type=CONTENT_TYPE)


async def _of_region(services: Services, region: Region) -> list[Sample]:
    here = {"region": str(region)}
    used, idle = services.pools.connections(region)
    pool = [
        Sample("database_connections", {**here, "state": "used"}, float(used)),
        Sample("database_connections", {**here, "state": "idle"}, float(idle)),
        Sample("database_connections_limit", here, float(services.pools.size)),
    ]
    try:
        async with services.pools.transaction(region, readonly=True) as connection:
            rows = await connection.fetch(_HEALTH, services.clock())
    except ProblemError:
        return [*pool, Sample("database_up", here, 0.0)]
    except asyncpg.PostgresError:  # it answers, though not this
        return [*pool, Sample("database_up", here, 1.0)]
    return [
        *pool,
        Sample("database_up", here, 1.0),
        Sample("cap_usd", here, float(services.embedding_cap_usd)),
        *(Sample(metric, {**here, **orjson.loads(labels)}, amount)
          for metric, labels, amount in rows),
    ]  # fmt: skip
