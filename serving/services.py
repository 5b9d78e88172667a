"""What every endpoint of the API needs, made once per process, and the person behind a request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from seda.database.regions import Region
from seda.privacy.downloads import DownloadLinks
from serving.authentication import Caller, TokenVerifier
from serving.cursors import Cursors
from serving.draining import Draining
from serving.exports import ExportFiles
from serving.impressions import ImpressionLog
from serving.pools import Pools
from serving.problems import unauthorized
from serving.rate_limits import RateLimits
from serving.session import RegionDirectory
from serving.telemetry import Telemetry


@dataclass(frozen=True)
class Services:
    """The process's wiring.

    `shards` is the number of user shards of each region; `embedding_cap_usd` is told, not enforced.
    """

    clock: Callable[[], datetime]
    pools: Pools
    directory: RegionDirectory
    verifier: TokenVerifier
    cursors: Cursors
    impressions: ImpressionLog
    shards: Mapping[Region, int]
    embedding_cap_usd: Decimal
    telemetry: Telemetry
    limits: RateLimits
    draining: Draining
    presence_linger: timedelta
    downloads: DownloadLinks
    exports: ExportFiles

    async def verified(self, token: str) -> Caller:
        """The person whose token it is, counted.

        Raises:
            ProblemError: 401, it is nobody's; 429, they ask too often.
        """
        caller = await self.verifier.verify(token)
        await self.limits.check_person(caller.sub)
        return caller


async def services(request: Request) -> Services:
    """The app's services (a dependency)."""
    found: Services = request.app.state.services
    return found


_bearer = HTTPBearer(auto_error=False, description="A Supabase access token.")


async def caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Caller:
    """The verified person behind a request (a dependency); 401 or 429 otherwise."""
    if credentials is None:
        raise unauthorized("Send an access token: Authorization: Bearer …", presented=False)
    found: Services = request.app.state.services
    return await found.verified(credentials.credentials)


WithServices = Annotated[Services, Depends(services)]
WithCaller = Annotated[Caller, Depends(caller)]
