"""Simulated canaries: how often the gates roll back one that changes nothing, and one that harms.

`python -m benchmarks.gates [--runs 2000] [--looks 60]`. Prints false rollbacks over all looks (A/A,
in three worlds), what 50 looks of a test that is made for one would have rolled back instead, and
the power at 5,000 impressions per arm by baseline and by true drop.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seda.experiments.gates import QUALITY, SRM_ALPHA, Quality
from seda.experiments.sequential import RatioSums, mismatch, past_limit

IMPRESSIONS = 20
"""Of one person at a time."""
CORRELATION = 0.01
"""Of two impressions of one person."""
PEOPLE = 250
"""Of one arm at the first look: 5,000 impressions."""
CHUNK = 100


@dataclass(frozen=True)
class World:
    """How people come: `new` of them in every look and arm, or the same ones again and again.

    `control` is how many times more people than the canary the control has.
    """

    name: str
    control: int = 1
    returning: bool = False
    ctr: float = 0.1
    listened: float = 0.7
    skipped: float = 0.12
    dismissed: float = 0.02


WORLDS = (
    World("new people in every look"),
    World("the same people in every look", returning=True),
    World("new people, a tenth of them in the canary", control=9),
)


@dataclass(frozen=True, eq=False)
class Arm:
    """Sums of one arm at every look, arrays `(runs, looks)`, by figure."""

    people: np.ndarray
    figures: dict[str, RatioSums]


def simulate(
    world: World, runs: int, looks: int, random: np.random.Generator, *, people: int,
    drop: float = 0,
) -> Arm:  # fmt: skip
    """One arm of many experiments; `drop` is the relative fall of its CTR."""
    blocks = 1 if world.returning else looks
    counts = np.full(blocks, people // 5 if blocks > 1 else people)
    counts[0] = people
    total = int(counts.sum())
    rates = _rates(world.ctr * (1 - drop), (runs, total, 1), random)
    visits = looks if world.returning else 1
    shown = np.maximum(random.poisson(IMPRESSIONS, (runs, total, visits)), 1)
    clicked = random.binomial(shown, rates)
    played = clicked
    listened = random.binomial(played, world.listened)
    skipped = np.minimum(random.binomial(played, world.skipped), played - listened)
    dismissed = random.binomial(shown, world.dismissed)
    pairs = {
        "ctr": (clicked, shown), "listen_30s": (listened, played), "skips": (skipped, played),
        "dismissals": (dismissed, shown),
    }  # fmt: skip
    ends = np.cumsum(counts) if visits == 1 else None
    figures = {name: _at_looks(y, x, ends) for name, (y, x) in pairs.items()}
    return Arm(figures["ctr"].people, figures)


def rollbacks(control: Arm, canary: Arm, qualities: tuple[Quality, ...]) -> np.ndarray:
    """Bool `(runs, looks)`: whether any gate of quality would roll back at that look."""
    found = np.zeros(canary.people.shape, bool)
    for quality in qualities:
        interval = quality.interval(control.figures[quality.name], canary.figures[quality.name])
        found = found | past_limit(interval, quality.limit)
    return np.asarray(found)


def false_rollbacks(world: World, runs: int, looks: int, seed: int) -> dict[str, float]:
    """Shares of A/A runs that are rolled back at any look: by all gates, by the CTR alone, and by
    a one-sided test at p < 0.05 that is made for one look."""
    random = np.random.default_rng(seed)
    counted = dict.fromkeys(("all gates", "ctr alone", "fixed p < 0.05, looked at as often"), 0)
    for some in _chunks(runs):
        control = simulate(world, some, looks, random, people=PEOPLE * world.control)
        canary = simulate(world, some, looks, random, people=PEOPLE)
        found = rollbacks(control, canary, QUALITY) | _mismatched(world, canary, random)
        ctr = QUALITY[0].interval(control.figures["ctr"], canary.figures["ctr"])
        counted["all gates"] += int(found.any(1).sum())
        counted["ctr alone"] += int(past_limit(ctr, QUALITY[0].limit).any(1).sum())
        naive = ctr.estimate / ctr.error < -1.645
        counted["fixed p < 0.05, looked at as often"] += int(naive.any(1).sum())
    return {name: count / runs for name, count in counted.items()}


def caught(world: World, drop: float, runs: int, seed: int, people: int = PEOPLE) -> float:
    """Share of runs in which a relative fall of the CTR is rolled back at one look."""
    random, found = np.random.default_rng(seed), 0
    for some in _chunks(runs):
        control = simulate(world, some, 1, random, people=people * world.control)
        canary = simulate(world, some, 1, random, people=people, drop=drop)
        ctr = QUALITY[0].interval(control.figures["ctr"], canary.figures["ctr"])
        found += int(past_limit(ctr, QUALITY[0].limit)[:, 0].sum())
    return found / runs


def _mismatched(world: World, canary: Arm, random: np.random.Generator) -> np.ndarray:
    """Whether the sample ratio would roll back: how many people come to each arm is chance."""
    share = 1 / (1 + world.control)
    came = np.diff(canary.people, axis=1, prepend=0) / share
    in_canary = np.cumsum(random.binomial(came.astype(int), share), axis=1)
    return np.asarray(mismatch(in_canary, canary.people / share - in_canary, share) < SRM_ALPHA)


def _rates(mean: float, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """People's own rates, so that impressions of one person correlate."""
    size = 1 / CORRELATION - 1
    return random.beta(mean * size, (1 - mean) * size, shape)


def _at_looks(y: np.ndarray, x: np.ndarray, ends: np.ndarray | None) -> RatioSums:
    """Sums at every look: of the people up to `ends`, or of all people's visits up to it."""
    if ends is None:
        y, x = np.cumsum(y, axis=2, dtype=float), np.cumsum(x, axis=2, dtype=float)
        return RatioSums.of(y.swapaxes(1, 2), x.swapaxes(1, 2))
    y, x = y[..., 0].astype(float), x[..., 0].astype(float)
    sums = [np.cumsum(each, axis=1)[:, ends - 1] for each in (y, x, y * y, x * y, x * x)]
    return RatioSums(np.broadcast_to(ends.astype(float), sums[0].shape), *sums)


def _chunks(runs: int) -> Iterator[int]:
    for start in range(0, runs, CHUNK):
        yield min(CHUNK, runs - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--looks", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    started = time.perf_counter()
    print(f"False rollbacks, {chosen.runs:,} A/A runs of {chosen.looks} looks")
    for world in WORLDS:
        shares = false_rollbacks(world, chosen.runs, chosen.looks, chosen.seed)
        told = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
        print(f"  {world.name}: {told}")
    print(f"Caught at the first look, 5,000 impressions per arm ({chosen.runs:,} runs)")
    drops = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
    print("  baseline CTR " + "".join(f"{f'-{drop:.0%}':>8}" for drop in drops))
    for ctr in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3):
        row = [caught(World("", ctr=ctr), drop, chosen.runs, chosen.seed) for drop in drops]
        print(f"  {ctr:12.0%} " + "".join(f"{share:8.1%}" for share in row))
    print("Caught by impressions per arm, baseline CTR 10 %")
    print("  impressions  " + "".join(f"{f'-{drop:.0%}':>8}" for drop in drops))
    for times in (1, 2, 4, 8):
        row = [caught(World(""), drop, chosen.runs // 4, chosen.seed, PEOPLE * times)
               for drop in drops]  # fmt: skip
        print(f"  {5000 * times:12,} " + "".join(f"{share:8.1%}" for share in row))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
