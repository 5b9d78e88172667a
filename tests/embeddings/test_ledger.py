"""The ledger: never over the cap, dead workers' reservations end, billed requests stay spent."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seda.database.regions import RegionalDatabase
from seda.embeddings import ledger
from seda.embeddings.breaker import BreakerPolicy
from seda.embeddings.budget import Budget, Job, cost_usd
from seda.embeddings.ledger import Refusal, Request, Reservation, Rules
from seda.embeddings.overrides import Override, OverrideRefusedError, record_override
from seda.embeddings.providers.provider import Failure, Limits
from seda.embeddings.spaces import EmbeddingSpace

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
SPACE = EmbeddingSpace("openai", "text-embedding-3-small", 1536, "1", "global")
# A dollar a token, so that sums are easy to read.
PRICE = Decimal(1_000_000)
RULES = Rules(Budget(Decimal(100)))
REQUEST = Request("openai", SPACE, Job.NEW_TEXT, 1, 10, PRICE, Limits())


@pytest.fixture
def connection(database: RegionalDatabase) -> Iterator[psycopg.Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def _admit(connection, request=REQUEST, rules=RULES, now=NOW, worker="w"):
    return ledger.admit(connection, request, rules, worker=worker, now=now)


def _spent(connection, now=NOW) -> Decimal:
    return ledger.committed_usd(connection, now=now)


def _states(connection) -> list[str]:
    rows = connection.execute("select state from seda.embedding_spend order by reserved_at, id")
    return [state for (state,) in rows]


def test_a_request_is_reserved_sent_and_settled_at_its_true_cost(connection) -> None:
    reservation = _admit(connection)
    assert _spent(connection) == 10
    assert ledger.send(connection, reservation, now=NOW)
    ledger.answered(connection, reservation, RULES, tokens=7, seconds=0.2, now=NOW)
    assert (_states(connection), _spent(connection)) == (["sent"], 7)
    ledger.settle(connection, reservation, now=NOW)
    assert (_states(connection), _spent(connection)) == (["settled"], 7)


def test_the_request_that_would_cross_the_cap_is_stopped_before_it_is_made(connection) -> None:
    for _ in range(10):
        assert isinstance(_admit(connection), Reservation)
    refused = _admit(connection, replace(REQUEST, tokens=1))
    assert refused == Refusal("budget_stopped", None)
    assert _spent(connection) == 100


def test_what_can_wait_pauses_at_four_fifths(connection) -> None:
    for _ in range(8):
        _admit(connection)
    assert _admit(connection, replace(REQUEST, job=Job.RE_EMBED)) == Refusal("budget_paused", None)
    assert isinstance(_admit(connection), Reservation)


def test_a_new_month_has_a_new_budget(connection) -> None:
    for _ in range(10):
        _admit(connection)
    first_of_december = datetime(2026, 12, 1, tzinfo=UTC)
    assert isinstance(_admit(connection, now=first_of_december), Reservation)
    assert _spent(connection, NOW) == 0  # expired: nobody sent them


def test_what_a_dead_worker_reserved_is_released_and_what_it_sent_is_spent(connection) -> None:
    _admit(connection, worker="dies before sending")
    sent = _admit(connection, worker="dies after sending")
    ledger.send(connection, sent, now=NOW)
    later = NOW + ledger.LIFETIME
    assert ledger.expire(connection, now=later - timedelta(seconds=1)) == 0
    assert ledger.expire(connection, now=later) == 2
    assert sorted(_states(connection)) == ["released", "settled"]
    assert _spent(connection) == 10


def test_a_worker_that_was_only_slow_has_to_ask_again(connection) -> None:
    reservation = _admit(connection)
    ledger.expire(connection, now=NOW + ledger.LIFETIME)
    assert not ledger.send(connection, reservation, now=NOW + ledger.LIFETIME)


def test_an_answer_after_the_expiry_corrects_the_cost(connection) -> None:
    reservation = _admit(connection)
    ledger.send(connection, reservation, now=NOW)
    later = NOW + ledger.LIFETIME
    ledger.expire(connection, now=later)
    ledger.answered(connection, reservation, RULES, tokens=3, seconds=99, now=later)
    ledger.settle(connection, reservation, now=later)
    assert (_states(connection), _spent(connection)) == (["settled"], 3)


@pytest.mark.parametrize("failure", list(Failure))
def test_only_a_failure_that_cannot_have_been_billed_frees_the_money(connection, failure) -> None:
    reservation = _admit(connection)
    ledger.send(connection, reservation, now=NOW)
    ledger.failed(connection, reservation, failure, RULES, seconds=0.1, now=NOW)
    billed = failure in (Failure.TIMED_OUT, Failure.BAD_ANSWER)
    assert _spent(connection) == (10 if billed else 0)


def test_requests_per_minute_are_counted_over_all_workers(connection) -> None:
    limited = replace(REQUEST, limits=Limits(requests_per_minute=2), tokens=1)
    _admit(connection, limited, worker="one")
    _admit(connection, limited, now=NOW + timedelta(seconds=20), worker="two")
    refused = _admit(connection, limited, now=NOW + timedelta(seconds=30), worker="three")
    assert refused == Refusal(ledger.RATE_LIMITED, NOW + timedelta(seconds=60))
    assert isinstance(_admit(connection, limited, now=refused.retry_at), Reservation)


def test_tokens_per_minute_are_counted_and_a_large_request_goes_alone(connection) -> None:
    limited = replace(REQUEST, limits=Limits(tokens_per_minute=15))
    assert isinstance(_admit(connection, replace(limited, tokens=20)), Reservation)
    assert _admit(connection, limited).reason == ledger.RATE_LIMITED
    later = NOW + timedelta(seconds=61)
    assert isinstance(_admit(connection, limited, now=later), Reservation)


def test_an_open_breaker_refuses_and_says_when_to_come_back(connection) -> None:
    rules = replace(RULES, breaker=BreakerPolicy(minimum_calls=1, sustained=timedelta(0)))
    reservation = _admit(connection, rules=rules)
    ledger.failed(connection, reservation, Failure.SERVER_ERROR, rules, seconds=0.1, now=NOW)
    refused = _admit(connection, rules=rules, now=NOW + timedelta(seconds=1))
    assert refused == Refusal(ledger.BREAKER_OPEN, NOW + timedelta(seconds=60))
    probe = _admit(connection, rules=rules, now=NOW + timedelta(seconds=60))
    assert probe.is_probe
    log = connection.execute(
        "select from_phase, to_phase, reason from seda.circuit_breaker_transitions order by id"
    ).fetchall()
    assert [row[:2] for row in log] == [("closed", "open"), ("open", "half_open")]
    assert "100.0% of 1 calls failed" in log[0][2]


def test_a_request_that_was_our_fault_says_nothing_of_the_provider(connection) -> None:
    rules = replace(RULES, breaker=BreakerPolicy(minimum_calls=1, sustained=timedelta(0)))
    reservation = _admit(connection, rules=rules)
    ledger.failed(connection, reservation, Failure.REFUSED, rules, seconds=0.1, now=NOW)
    assert isinstance(_admit(connection, rules=rules), Reservation)


def test_the_breaker_and_the_ledger_are_seen_by_another_process_at_once(
    database: RegionalDatabase, connection
) -> None:
    for _ in range(10):
        _admit(connection)
    with database.connect(autocommit=True) as other:
        assert _admit(other) == Refusal("budget_stopped", None)


@pytest.fixture
def super_admin(connection) -> Iterator:
    person = uuid4()
    connection.execute("insert into seda.users (id, role) values (%s, 'super_admin')", [person])
    return person


def _override(approver, **changes) -> Override:
    expires = NOW + timedelta(hours=24)
    return replace(Override(Decimal(200), approver, "launch week, agreed", expires), **changes)


def test_an_override_raises_the_cap_until_it_ends_and_is_audited(connection, super_admin) -> None:
    full = _admit(connection, replace(REQUEST, tokens=100))
    ledger.send(connection, full, now=NOW)
    record_override(connection, _override(super_admin), now=NOW)
    assert isinstance(_admit(connection), Reservation)
    assert _admit(connection, now=NOW + timedelta(hours=24)) == Refusal("budget_stopped", None)
    audited = connection.execute(
        "select actor, action, details ->> 'reason' from seda.audit_log"
    ).fetchall()
    approver = f"sha256:{sha256(super_admin.bytes).hexdigest()}"  # the log outlives people
    assert audited == [(approver, "embedding_budget_override", "launch week, agreed")]


def test_an_override_needs_a_super_admin_a_reason_and_an_end(connection, super_admin) -> None:
    person = uuid4()
    connection.execute("insert into seda.users (id, role) values (%s, 'admin')", [person])
    for wrong, said in [
        (_override(person), "no super_admin"),
        (_override(uuid4()), "no super_admin"),
        (_override(super_admin, reason="pls"), "reason"),
        (_override(super_admin, expires_at=NOW), "seven days"),
        (_override(super_admin, expires_at=NOW + timedelta(days=8)), "seven days"),
    ]:
        with pytest.raises(OverrideRefusedError, match=said):
            record_override(connection, wrong, now=NOW)
    assert connection.execute("select count(*) from seda.audit_log").fetchone() == (0,)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "send", "answer", "settle", "crash", "fail", "wait"]),
        st.integers(0, 3),  # which worker
        st.integers(1, 40),  # tokens, or a share of them, or minutes
        st.sampled_from(list(Job)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(_STEPS)
def test_no_schedule_of_workers_and_crashes_spends_over_the_cap(connection, steps) -> None:
    """What providers billed is never more than the ledger says, and that never passes the cap."""
    connection.execute("delete from seda.embedding_spend")
    connection.execute("delete from seda.circuit_breakers")
    now, open_, billed = NOW, {}, Decimal(0)
    for action, worker, amount, job in steps:
        held = open_.get(worker)
        if action == "wait":
            now += timedelta(minutes=amount / 10)
        elif action == "admit" and held is None:
            request = replace(REQUEST, job=job, tokens=amount)
            answer = _admit(connection, request, now=now, worker=str(worker))
            if isinstance(answer, Reservation):
                open_[worker] = (answer, "reserved")
        elif action == "send" and held and held[1] == "reserved":
            sent = ledger.send(connection, held[0], now=now)
            open_[worker] = (held[0], "sent") if sent else None
        elif action == "answer" and held and held[1] == "sent":
            tokens = min(amount, held[0].request.tokens)
            billed += cost_usd(tokens, PRICE)
            ledger.answered(connection, held[0], RULES, tokens=tokens, seconds=0.1, now=now)
            open_[worker] = (held[0], "answered")
        elif action == "settle" and held and held[1] == "answered":
            ledger.settle(connection, held[0], now=now)
            open_[worker] = None
        elif action == "fail" and held and held[1] == "sent":
            billed += cost_usd(held[0].request.tokens, PRICE)
            ledger.failed(connection, held[0], Failure.TIMED_OUT, RULES, seconds=1, now=now)
            open_[worker] = None
        elif action == "crash" and held:
            if held[1] == "sent":
                billed += cost_usd(held[0].request.tokens, PRICE)  # the provider did the work
            open_[worker] = None
        committed = _spent(connection, now)
        assert billed <= committed <= RULES.budget.cap_usd
    ledger.expire(connection, now=now + ledger.LIFETIME)
    assert set(_states(connection)) <= {"settled", "released"}
    assert billed <= _spent(connection, now) <= RULES.budget.cap_usd


def test_eight_workers_that_race_to_the_cap_never_pass_it(database: RegionalDatabase) -> None:
    """Half a dollar below the cap; a request is at most 3 cents, and true costs are lower."""
    rules = Rules(Budget(Decimal(1500)))
    request = replace(REQUEST, tokens=3, usd_per_million_tokens=Decimal(10_000))
    with database.connect(autocommit=True) as connection:
        spent = replace(request, tokens=149_950)
        first = _admit(connection, spent, rules)
        ledger.send(connection, first, now=NOW)
        ledger.answered(connection, first, rules, tokens=149_950, seconds=1, now=NOW)
    seen: list[Decimal] = []
    admitted: list[int] = []

    def work(number: int) -> None:
        with database.connect(autocommit=True) as connection:
            made = 0
            while isinstance(answer := _admit(connection, request, rules, worker=str(number)),
                             Reservation):  # fmt: skip
                ledger.send(connection, answer, now=NOW)
                if made % 3 != 2:  # every third worker's request is lost after it was sent
                    ledger.answered(connection, answer, rules, tokens=2, seconds=0.1, now=NOW)
                seen.append(_spent(connection))
                made += 1
            admitted.append(made)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(seen) <= 1500
    assert len(admitted) == 8
    assert sum(admitted) >= 50 // 3
    with database.connect() as connection:
        assert Decimal(1500) - _spent(connection) < Decimal("0.03")
