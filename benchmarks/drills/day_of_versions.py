"""Parts of the data team's day: a new version and its backfill, a canary and its rollback."""

import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.drills.canary_audience import come_and_click
from benchmarks.drills.dagster_ui import PATIENCE_SECONDS
from benchmarks.drills.day import (
    BACKFILLED,
    CANARY,
    CTR,
    EXPERIMENT,
    LISTS,
    SHARE,
    Day,
    named,
    register,
)
from benchmarks.drills.running_platform import seda
from seda.database.regions import Region

_ROLLED_BACK = "select reason, ended_at from seda.experiments where name = %s and not serving"
_AUDITED = """
    select actor, details ->> 'reason' from seda.audit_log
    where action = 'canary_rolled_back' and subject = %s"""


def new_version(day: Day, folder: Path) -> None:
    """A version becomes active in the EU; what is stale, why, and the backfill that is proposed."""
    ui, protocol, eu = day.platform.ui, day.protocol, day.shards(Region.EU)
    protocol.part("A new model version in the EU")
    (old,) = day.served(Region.EU)
    asked = time.time()
    register(BACKFILLED, Region.EU, folder)
    seda("model", "canary", BACKFILLED, "--region", "eu")
    seda("model", "promote", "--region", "eu", "--reason", "as good offline, and simpler")
    protocol.say(f"seda model register, canary, promote: {BACKFILLED} is active in place of {old}")
    run = ui.ended(ui.launch("observe_sources", assets=["seda/model_registry"]))
    protocol.check(run.status == "SUCCESS", "the registry is observed", run)
    stale = day.newly_stale()
    why = frozenset({"seda/model_registry has a new data version"})
    expected = {("ranked_recommendations", shard): why for shard in eu}
    protocol.check(stale == expected, f"stale are exactly {named(expected)}", stale)
    proposal = ui.awaited(
        lambda: ui.observed("ranked_recommendations", asked) or None, "the proposal"
    )[0]
    protocol.check(
        proposal["shards"] == ", ".join(eu) and BACKFILLED in proposal["active"],
        f"new_model_version proposes: {proposal['command']}", proposal,
    )  # fmt: skip
    _backfill(day, proposal["command"].split()[1:], old)


def _backfill(day: Day, command: Sequence[str], old: str) -> None:
    ui, protocol, eu = day.platform.ui, day.protocol, day.shards(Region.EU)
    since, began = time.monotonic(), day.protocol.seconds
    said = seda(*command, "--ui")
    found = re.search(r"/runs/b/(\w+)", said)
    assert found, said
    status, description, made = ui.backfill(found[1])
    day.changed(Region.EU, old, BACKFILLED, since)
    seconds = protocol.seconds - began
    protocol.check(status == "COMPLETED_SUCCESS", f"backfilled in {seconds:.0f} s", status)
    expected = {(asset, shard) for asset in LISTS for shard in eu}
    protocol.check(made == expected, f"computed: {named(expected)}", made)
    protocol.say(f"why, on the backfill's page: {description}")
    served = day.served(Region.EU)
    protocol.check(served == {BACKFILLED}, f"every EU shard serves {BACKFILLED}", served)
    stale = day.newly_stale()
    again = {part for part in stale if part[0] in LISTS}
    protocol.check(not again, "none of these is stale any more", stale)
    follow = {part: why for part, why in stale.items() if part not in again}
    because = frozenset(f"{asset} has a new data version" for asset in LISTS[1:])
    protocol.check(
        set(follow.values()) <= {because},
        f"what reads the new lists follows by its own job: {named(follow)}", follow,
    )  # fmt: skip


def canary(day: Day, folder: Path) -> str:
    """The next version for a tenth of the global region's people; the control's version."""
    ui, protocol, shards = day.platform.ui, day.protocol, day.shards(Region.GLOBAL)
    protocol.part("A canary in the global region")
    (control,) = day.served(Region.GLOBAL)
    since = time.monotonic()
    register(CANARY, Region.GLOBAL, folder)
    seda("model", "canary", CANARY, "--share", str(SHARE), "--name", EXPERIMENT)
    run = ui.ended(ui.launch("model_backfill", assets=LISTS, shards=shards))
    protocol.check(run.status == "SUCCESS", f"its lists are ranked, in {run.seconds:.0f} s", run)
    group = Region.GLOBAL, "canary"
    day.terms.begin(group, CANARY, since)
    day.terms.end(group, control, time.monotonic())
    facts = [ui.metadata("seda/recommendations", [shard]) for shard in shards]
    made: Counter[str] = Counter()
    for each in facts:
        made[each["model_version"]] += each["people"]
        made[each.get("canary_model_version", "")] += each.get("canary_people", 0)
    people = [each for each in day.people if each.region is Region.GLOBAL]
    arms = Counter(each.arm for each in people)
    expected = Counter({control: len(people), CANARY: arms["canary"]})
    protocol.check(
        made == expected, f"which model ranked for how many people: {dict(made)}", expected
    )
    return control


def degraded(day: Day, control: str) -> None:
    """People click the canary less, and the gate takes it back."""
    ui, protocol = day.platform.ui, day.protocol
    protocol.part("People click the canary's lists less")
    people = [each for each in day.people if each.region is Region.GLOBAL]
    traffic = come_and_click(day.platform.ports.api, people, CTR, day.seed)
    for arm, shown in sorted(traffic.impressions.items()):
        share = traffic.clicks[arm] / shown
        protocol.say(f"{arm}: {traffic.people[arm]} people, {shown:,} impressions, {share:.1%} "
                     "clicked, over HTTP")  # fmt: skip
    said = seda("gate", "--region", "global", status=1)
    protocol.check("To be rolled back: " in said, said.strip().splitlines()[-1])
    started = time.monotonic()
    with _Watch(day) as rolled_back:
        ui.switch("canaries", on=True)
        protocol.say("the sensor `canaries` is started")
        noticed = rolled_back.wait(PATIENCE_SECONDS)
    protocol.check(noticed, f"rolled back {rolled_back.at - started:.1f} s after that")
    group = Region.GLOBAL, "canary"
    day.terms.begin(group, control, started)
    day.terms.end(group, CANARY, rolled_back.at)
    _rollback_is_told(day, control)


class _Watch:
    """Looks for the rollback every 20 ms; `at` is when it had been committed for sure."""

    def __init__(self, day: Day) -> None:
        self.at = float("nan")
        self._database = day.platform.databases[Region.GLOBAL]
        self._seen, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def wait(self, seconds: float) -> bool:
        return self._seen.wait(seconds)

    def _look(self) -> None:
        with self._database.connect(autocommit=True) as connection:
            while not self._over.is_set():
                if connection.execute(_ROLLED_BACK, [EXPERIMENT]).fetchone():
                    self.at = time.monotonic()
                    self._seen.set()
                    return
                time.sleep(0.02)


def _rollback_is_told(day: Day, control: str) -> None:
    """Its reason on the asset's page and in the audit log, and who is served what now."""
    ui, protocol = day.platform.ui, day.protocol
    (run, *_) = ui.runs_of("canary_gates")
    protocol.check(ui.ended(run).status == "SUCCESS", "the gate's run is green")
    facts = ui.metadata("canary_gate")
    reason = facts.get("global_reason", "")
    protocol.check("ctr: worse for sure" in reason and facts["global_rolled_back"] == 1,
                   f"why, on the page of canary_gate: {reason}", facts)  # fmt: skip
    row = next(line for line in facts["global_gates"].splitlines() if line.startswith("| ctr |"))
    protocol.say(row)
    serves = facts["global_serves"].splitlines()[2:]
    people = sum(each.region is Region.GLOBAL for each in day.people)
    protocol.check(serves == [f"| control | {control} | {len(day.shards(Region.GLOBAL))} "
                              f"| {people} |"],
                   f"which model serves how many now: {serves}")  # fmt: skip
    with day.platform.databases[Region.GLOBAL].transaction() as connection:
        audited = connection.execute(_AUDITED, [EXPERIMENT]).fetchall()
    protocol.check(audited == [("canary gate", reason)], "the same in the audit log", audited)
