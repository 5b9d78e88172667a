"""What may be spent on embeddings, and on what: pure decisions over sums that the ledger gives.

Money is `Decimal` dollars. A month is a calendar month in UTC. The limits are SPEC EMB-5's.
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from enum import StrEnum

DOLLAR_PLACES = Decimal("0.00000001")
# Beyond a text's own bytes: the marks that a tokeniser puts around it.
TOKENS_AROUND_A_TEXT = 8


class Job(StrEnum):
    """What a request is for; the ledger attributes spend to it."""

    NEW_TEXT = "new_text"
    CHANGED_TEXT = "changed_text"
    FAILOVER = "failover"
    """Into the standby's space while the active one's provider is out."""
    RE_EMBED = "re_embed"
    """Unchanged text whose vector has come of age."""
    FILL = "fill"
    """A standby's space, ahead of its promotion."""
    SHADOW = "shadow"

    @property
    def is_critical(self) -> bool:
        """Whether it goes on between 80 % and 100 % of the cap."""
        return self in (Job.NEW_TEXT, Job.CHANGED_TEXT, Job.FAILOVER)


class SpendVerdict(StrEnum):
    """The budget's answer to a request."""

    ALLOWED = "allowed"
    PAUSED = "paused"
    """Not critical, and 80 % of the cap would be passed."""
    STOPPED = "stopped"
    """The cap would be passed."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A month's cap and the share of it at which non-critical jobs pause."""

    cap_usd: Decimal
    pause_share: Decimal = Decimal("0.8")

    @property
    def pause_usd(self) -> Decimal:
        """The sum at which non-critical jobs pause."""
        return self.cap_usd * self.pause_share

    def verdict(self, job: Job, committed_usd: Decimal, request_usd: Decimal) -> SpendVerdict:
        """Whether a request may be made; `committed_usd` is spent or reserved this month.

        What costs nothing always may: a runner of our own is not the budget's matter.
        """
        if request_usd == 0:
            return SpendVerdict.ALLOWED
        if committed_usd + request_usd > self.cap_usd:
            return SpendVerdict.STOPPED
        if not job.is_critical and committed_usd + request_usd > self.pause_usd:
            return SpendVerdict.PAUSED
        return SpendVerdict.ALLOWED


def most_tokens(texts: Sequence[str]) -> int:
    """More tokens than any byte-level tokeniser makes of the texts: a token is a byte at least."""
    return sum(len(text.encode("utf-8", "surrogatepass")) + TOKENS_AROUND_A_TEXT for text in texts)


def cost_usd(tokens: int, usd_per_million_tokens: Decimal) -> Decimal:
    """Dollars, rounded up to the ledger's eight places."""
    exact = Decimal(tokens) * usd_per_million_tokens / Decimal(1_000_000)
    return exact.quantize(DOLLAR_PLACES, rounding=ROUND_UP)


def month_bounds(now: datetime) -> tuple[datetime, datetime]:
    """The first moment of the calendar month, and of the next one, in UTC."""
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, first + timedelta(days=monthrange(first.year, first.month)[1])


def projected_usd(spent_usd: Decimal, now: datetime) -> Decimal:
    """What the month ends with at the run rate so far; the first day counts as a whole one."""
    first, following = month_bounds(now)
    elapsed = max(timedelta(days=1), now - first)
    share = Decimal((following - first) / elapsed)
    return (spent_usd * share).quantize(Decimal("0.01"))
