"""What was spent on embeddings, for reports: by day, provider and job, against the caps."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import psycopg

from seda.embeddings.budget import Budget, projected_usd
from seda.embeddings.ledger import committed_usd
from seda.embeddings.overrides import Override, cap_in_force, current_override

_DAILY = """
    select (reserved_at at time zone 'UTC')::date, provider, job, sum(usd), sum(tokens),
           count(*), count(*) filter (where outcome <> 'ok')
    from seda.embedding_spend
    where reserved_at > %s and reserved_at <= %s and (state <> 'released' or outcome is not null)
    group by 1, 2, 3 order by 1, 2, 3"""


@dataclass(frozen=True, slots=True)
class DailySpend:
    """One day (UTC) of one provider and job."""

    day: date
    provider: str
    job: str
    usd: Decimal
    tokens: int
    requests: int
    failures: int


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """The month so far."""

    committed_usd: Decimal
    """Spent or reserved."""
    projected_usd: Decimal
    """At the month's end, at the run rate so far."""
    budget: Budget
    """With the cap that is in force."""
    override: Override | None

    @property
    def share(self) -> float:
        """Of the cap; 0 where there is no cap to speak of."""
        return float(self.committed_usd / self.budget.cap_usd) if self.budget.cap_usd else 0.0


def daily_spend(connection: psycopg.Connection, *, days: int, now: datetime) -> list[DailySpend]:
    """The last `days` days, oldest first."""
    rows = connection.execute(_DAILY, [now - timedelta(days=days), now])
    return [DailySpend(*row) for row in rows]


def budget_status(connection: psycopg.Connection, budget: Budget, *, now: datetime) -> BudgetStatus:
    """The month of `now` against the cap."""
    committed = committed_usd(connection, now=now)
    return BudgetStatus(
        committed,
        projected_usd(committed, now),
        cap_in_force(connection, budget, now=now),
        current_override(connection, now=now),
    )
