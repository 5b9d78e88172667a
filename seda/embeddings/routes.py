"""Which providers a region has, by its settings, and what each is for by its rows.

The configuration says which providers there are, in order of preference; the database says which
space is active. A provider that is configured later becomes a standby, to be filled and promoted
by a person: a key in the environment never switches a space (DAT-3). The EU's routes take EU texts
and no others, so the type checker refuses a global endpoint among them (EMB-9).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic

import psycopg

from seda.database.regions import Region
from seda.embeddings.budget import Budget
from seda.embeddings.ledger import Rules
from seda.embeddings.providers import cohere, openai
from seda.embeddings.providers.local import LocalEmbedder, LocalProvider
from seda.embeddings.providers.provider import Provider
from seda.embeddings.providers.runner import RunnerProvider, runner_space
from seda.embeddings.regional_texts import EuTexts, GlobalTexts, TextsT
from seda.embeddings.service import ServicePolicy
from seda.embeddings.space_rows import active_space
from seda.embeddings.spaces import EmbeddingSpace
from seda.settings import Settings


@dataclass(frozen=True)
class Route(Generic[TextsT]):
    """A way to vectors of one space; `open` makes the provider, inside a running event loop."""

    space: EmbeddingSpace
    open: Callable[[], Provider[TextsT]]
    is_hosted: bool
    """Somebody else's endpoint, which may be out."""


@dataclass(frozen=True)
class RegionalEmbeddings(Generic[TextsT]):
    """Everything a region needs to keep its vectors up to date."""

    region: Region
    as_texts: Callable[[tuple[str, ...]], TextsT]
    routes: tuple[Route[TextsT], ...]
    policy: ServicePolicy
    active: EmbeddingSpace
    shadow: Route[TextsT] | None = None
    shadow_share: float = 0.0
    period_days: int = 45

    def route(self, space: EmbeddingSpace) -> Route[TextsT] | None:
        """The way to a space; None if its provider is not configured."""
        return next((route for route in self.routes if route.space == space), None)

    @property
    def preferred(self) -> Route[TextsT]:
        """The provider that the settings would have active."""
        return self.routes[0]

    @property
    def standby(self) -> Route[TextsT] | None:
        """The hosted provider to fail over to while the active space's is out."""
        active = self.route(self.active)
        if active is None or not active.is_hosted:
            return None
        others = (route for route in self.routes if route.is_hosted and route is not active)
        return next(others, None)


AnyEmbeddings = RegionalEmbeddings[GlobalTexts] | RegionalEmbeddings[EuTexts]


def embeddings_of(
    settings: Settings, region: Region, connection: psycopg.Connection
) -> AnyEmbeddings:
    """The region's routes, with the space that its database says is active.

    A database without an active space gets that of the preferred provider.
    """
    policy, active = service_policy(settings), active_space(connection)
    period = settings.embedding_period_days
    if region is Region.EU:
        eu = eu_routes(settings)
        # Our own runner works on one request after another: a second one would only wait there,
        # and look as slow as both.
        alone = replace(policy, concurrency=1)
        return RegionalEmbeddings(
            region, EuTexts, eu, alone, active or eu[0].space, period_days=period
        )
    routes = global_routes(settings)
    return RegionalEmbeddings(
        region,
        GlobalTexts,
        routes,
        policy,
        active or routes[0].space,
        shadow=next((r for r in routes if r.space.provider == settings.embedding_shadow), None),
        shadow_share=settings.embedding_shadow_share,
        period_days=period,
    )


def service_policy(settings: Settings) -> ServicePolicy:
    """How requests are made and what they are held against."""
    rules = Rules(Budget(settings.embedding_monthly_cap_usd))
    return ServicePolicy(rules, batch_size=settings.embedding_batch_size)


def global_routes(settings: Settings) -> tuple[Route[GlobalTexts], ...]:
    """The global region's providers, the preferred one first; the local one always works."""
    routes: list[Route[GlobalTexts]] = []
    openai_key, cohere_key = settings.openai_api_key, settings.cohere_api_key
    if openai_key:
        openai_url = settings.openai_base_url
        routes.append(
            Route(openai.SPACE, lambda: openai.OpenAIProvider(openai_key, openai_url), True)
        )
    if cohere_key:
        cohere_url = settings.cohere_base_url
        routes.append(
            Route(cohere.SPACE, lambda: cohere.CohereProvider(cohere_key, cohere_url), True)
        )
    return (*routes, _local(Region.GLOBAL))


def eu_routes(settings: Settings) -> tuple[Route[EuTexts], ...]:
    """The EU's providers: a runner of our own in the EU, and this process. Nobody else."""
    url, key = settings.eu_embedder_url, settings.eu_embedder_api_key
    if not url:
        return (_local(Region.EU),)
    model, dim = settings.eu_embedder_model, settings.eu_embedder_dim
    version = settings.eu_embedder_version
    runner = Route[EuTexts](
        runner_space(model, dim, version),
        lambda: RunnerProvider(url, model, dim, version, api_key=key),
        True,
    )
    return (runner, _local(Region.EU))


def _local(region: Region) -> Route:
    embedder = LocalEmbedder(region=str(region))
    return Route(embedder.space, lambda: LocalProvider(embedder), False)
