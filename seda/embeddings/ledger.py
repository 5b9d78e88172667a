"""The ledger of requests to providers: admitted before, answered and settled after (EMB-5).

Every row is one request. A row is *reserved* when it is admitted, *sent* just before the request
leaves, and *settled* in the transaction that stores its vectors; a failure that cannot have been
billed *releases* it. What a dead worker leaves behind expires: unsent is released, sent counts as
spent, at the most it can have cost. All times come from the caller's clock.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg

from seda.embeddings.breaker import BreakerPolicy, Pass, Phase, retry_at
from seda.embeddings.breaker_rows import ask_breaker, tell_breaker
from seda.embeddings.budget import Budget, Job, SpendVerdict, cost_usd, month_bounds
from seda.embeddings.overrides import cap_in_force
from seda.embeddings.providers.provider import Failure, Limits
from seda.embeddings.spaces import EmbeddingSpace

# Longer than any request may take, and the storing of its vectors.
LIFETIME = timedelta(minutes=2)
_MINUTE = timedelta(minutes=1)
OK = "ok"
LOST = "worker_lost"

# One admission at a time in a region: sums and reservations must not interleave.
_LOCK = "select pg_advisory_xact_lock(hashtext('seda.embedding_admission'))"
_EXPIRE = """
    update seda.embedding_spend set
        state = case state when 'sent' then 'settled' else 'released' end,
        usd = case state when 'sent' then usd else 0 end,
        outcome = coalesce(outcome, %(lost)s), settled_at = %(now)s
    where state in ('reserved', 'sent') and expires_at <= %(now)s"""
_COMMITTED = """
    select coalesce(sum(usd), 0) from seda.embedding_spend
    where reserved_at >= %s and reserved_at < %s and state <> 'released'"""
_RECENT = """
    select count(*), coalesce(sum(tokens), 0), min(reserved_at) from seda.embedding_spend
    where provider = %(provider)s and reserved_at > %(since)s
      and (state <> 'released' or outcome is not null)"""
_RESERVE = """
    insert into seda.embedding_spend
        (id, provider, model, job, state, tokens, usd, texts, worker, reserved_at, expires_at)
    values (%s, %s, %s, %s, 'reserved', %s, %s, %s, %s, %s, %s)"""
_SEND = """
    update seda.embedding_spend set state = 'sent', sent_at = %s
    where id = %s and state = 'reserved'"""
_ANSWER = """
    update seda.embedding_spend set outcome = %(outcome)s, latency_seconds = %(seconds)s,
        answered_at = %(now)s, tokens = %(tokens)s, usd = %(usd)s, state = %(state)s,
        settled_at = case when %(state)s = 'sent' then null else %(now)s::timestamptz end
    where id = %(id)s"""
_SETTLE = """
    update seda.embedding_spend set state = 'settled', settled_at = %s where id = %s"""


@dataclass(frozen=True, slots=True)
class Request:
    """What is about to be asked of a provider; `tokens` is the most it can be."""

    provider: str
    space: EmbeddingSpace
    job: Job
    texts: int
    tokens: int
    usd_per_million_tokens: Decimal
    limits: Limits


@dataclass(frozen=True, slots=True)
class Rules:
    """What the ledger holds every request against."""

    budget: Budget
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request that may be made; money for it is set aside."""

    id: UUID
    request: Request
    is_probe: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request may not be made now, and when to ask again; None: not before a person acts."""

    reason: str
    retry_at: datetime | None


BREAKER_OPEN = "breaker_open"
BREAKER_PROBING = "breaker_probing"
RATE_LIMITED = "over_own_limit"


def admit(
    connection: psycopg.Connection, request: Request, rules: Rules, *, worker: str, now: datetime
) -> Reservation | Refusal:
    """Reserve a request, or say why not; commits.

    It is held against the month's budget, the provider's limits per minute, and its breaker.
    """
    with connection.transaction():
        connection.execute(_LOCK)
        expire(connection, now=now)
        refusal = _over_budget(connection, request, rules.budget, now)
        refusal = refusal or _over_limits(connection, request, now)
        if refusal:
            return refusal
        is_probe = False
        # Last, because being let through may make this request the probe.
        if not request.limits.in_process:
            breaker, answer = ask_breaker(connection, request.provider, rules.breaker, now=now)
            if answer is Pass.DENIED:
                reason = BREAKER_OPEN if breaker.phase is Phase.OPEN else BREAKER_PROBING
                return Refusal(reason, retry_at(breaker, now, rules.breaker))
            is_probe = answer is Pass.PROBE
        return _reserve(connection, request, worker=worker, is_probe=is_probe, now=now)


def send(connection: psycopg.Connection, reservation: Reservation, *, now: datetime) -> bool:
    """Note that the request leaves now; False if the reservation expired and must be had anew."""
    with connection.transaction():
        return connection.execute(_SEND, [now, reservation.id]).rowcount == 1


def answered(
    connection: psycopg.Connection,
    reservation: Reservation,
    rules: Rules,
    *,
    tokens: int,
    seconds: float,
    now: datetime,
) -> None:
    """Note an answer and its true cost, and tell the breaker; `settle` follows with the vectors."""
    usd = cost_usd(tokens, reservation.request.usd_per_million_tokens)
    with connection.transaction():
        _note(connection, reservation, OK, seconds, tokens, usd, "sent", now)
        _tell(connection, reservation, rules, ok=True, seconds=seconds, now=now)


def failed(
    connection: psycopg.Connection,
    reservation: Reservation,
    failure: Failure,
    rules: Rules,
    *,
    seconds: float,
    now: datetime,
) -> None:
    """Note a failure and tell the breaker. What may have been billed stays spent, at the most."""
    request = reservation.request
    billed = failure.may_be_billed
    usd = cost_usd(request.tokens, request.usd_per_million_tokens) if billed else Decimal(0)
    tokens = request.tokens if billed else 0
    state = "settled" if billed else "released"
    with connection.transaction():
        _note(connection, reservation, str(failure), seconds, tokens, usd, state, now)
        if failure.speaks_of_health:
            _tell(connection, reservation, rules, ok=False, seconds=seconds, now=now)


def settle(connection: psycopg.Connection, reservation: Reservation, *, now: datetime) -> None:
    """Close the row, in the caller's transaction: the one that stores the vectors."""
    connection.execute(_SETTLE, [now, reservation.id])


def expire(connection: psycopg.Connection, *, now: datetime) -> int:
    """Close what dead workers left open, in the caller's transaction; returns how many rows."""
    return connection.execute(_EXPIRE, {"lost": LOST, "now": now}).rowcount


def committed_usd(connection: psycopg.Connection, *, now: datetime) -> Decimal:
    """What is spent or reserved in the month of `now`."""
    row = connection.execute(_COMMITTED, month_bounds(now)).fetchone()
    return Decimal(row[0]) if row else Decimal(0)


def _over_budget(
    connection: psycopg.Connection, request: Request, budget: Budget, now: datetime
) -> Refusal | None:
    usd = cost_usd(request.tokens, request.usd_per_million_tokens)
    if usd == 0:
        return None
    in_force = cap_in_force(connection, budget, now=now)
    verdict = in_force.verdict(request.job, committed_usd(connection, now=now), usd)
    if verdict is SpendVerdict.ALLOWED:
        return None
    return Refusal(f"budget_{verdict}", None)


def _over_limits(connection: psycopg.Connection, request: Request, now: datetime) -> Refusal | None:
    """A sliding minute over the ledger, so the limit is shared by all workers."""
    limits = request.limits
    if limits.requests_per_minute is None and limits.tokens_per_minute is None:
        return None
    row = connection.execute(
        _RECENT, {"provider": request.provider, "since": now - _MINUTE}
    ).fetchone()
    requests, tokens, oldest = row or (0, 0, None)
    over = (
        limits.requests_per_minute is not None and requests + 1 > limits.requests_per_minute
    ) or (
        limits.tokens_per_minute is not None and tokens + request.tokens > limits.tokens_per_minute
    )
    # A request that is alone larger than the limit goes alone.
    if not over or oldest is None:
        return None
    return Refusal(RATE_LIMITED, oldest + _MINUTE)


def _reserve(
    connection: psycopg.Connection, request: Request, *, worker: str, is_probe: bool, now: datetime
) -> Reservation:
    reservation = Reservation(uuid4(), request, is_probe)
    usd = cost_usd(request.tokens, request.usd_per_million_tokens)
    connection.execute(
        _RESERVE,
        [reservation.id, request.provider, request.space.model, str(request.job), request.tokens,
         usd, request.texts, worker, now, now + LIFETIME],
    )  # fmt: skip
    return reservation


def _note(
    connection: psycopg.Connection,
    reservation: Reservation,
    outcome: str,
    seconds: float,
    tokens: int,
    usd: Decimal,
    state: str,
    now: datetime,
) -> None:
    connection.execute(
        _ANSWER,
        {"id": reservation.id, "outcome": outcome, "seconds": seconds, "now": now,
         "tokens": tokens, "usd": usd, "state": state},
    )  # fmt: skip


def _tell(
    connection: psycopg.Connection,
    reservation: Reservation,
    rules: Rules,
    *,
    ok: bool,
    seconds: float,
    now: datetime,
) -> None:
    if not reservation.request.limits.in_process:
        tell_breaker(
            connection,
            reservation.request.provider,
            rules.breaker,
            ok=ok,
            seconds=seconds,
            was_probe=reservation.is_probe,
            now=now,
        )
