"""Who is in a canary: the same for ever and in SQL, as many as asked for, others each time."""

from uuid import UUID

import numpy as np
import pytest

from seda.database.regions import RegionalDatabase
from seda.experiments.assignment import CANARY, arm_of, in_canary

PEOPLE = [UUID(int=int.from_bytes(np.random.default_rng(5).bytes(16 * 8)[:16], "big") + number)
          for number in range(4000)]  # fmt: skip


def test_sql_assigns_as_python_does(database: RegionalDatabase) -> None:
    with database.transaction() as connection:
        for experiment, share in (("tuned-7.20261101t030000", 0.05), ("other", 0.1)):
            rows = connection.execute(
                "select seda.arm_of(%s, id, %s) from unnest(%s::uuid[]) with ordinality as p(id, n)"
                " order by n",
                [experiment, share, PEOPLE],
            ).fetchall()
            assert [arm for (arm,) in rows] == [arm_of(experiment, p, share) for p in PEOPLE]


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_as_many_are_in_it_as_asked_for(share: float) -> None:
    found = in_canary("tuned-7", PEOPLE, share).mean()
    assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / len(PEOPLE))


def test_another_experiment_draws_other_people_and_a_larger_share_keeps_those_who_are_in() -> None:
    first, second = in_canary("one", PEOPLE, 0.1), in_canary("two", PEOPLE, 0.1)
    # Independent draws meet in a hundredth.
    assert abs((first & second).mean() - 0.01) < 4 * np.sqrt(0.01 * 0.99 / len(PEOPLE))
    assert np.all(first[in_canary("one", PEOPLE, 0.05)])


def test_the_arm_of_a_person_is_fixed() -> None:
    person = UUID("0c9a2b1e-8a55-5c5e-9d0a-6f3a0f5a9b11")
    arms = [arm_of(f"experiment-{number}", person, 0.1) for number in range(30)]
    assert [number for number, arm in enumerate(arms) if arm == CANARY] == [8, 12, 13, 22]
