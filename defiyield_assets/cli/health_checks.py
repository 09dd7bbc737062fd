"""What `defiyield health` asks of the stores: whether they answer, daemons report, runs end, the last day has its plan.

Lives here: the checks of the probes `ready` and `fresh`. Not here: what `doctor` looks at, too (state_checks.py), the
probe `live`, drawing and the clock (health.py).
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from defiyield_assets.cli import state_checks
from defiyield_assets.cli.dagster_home import open_instance
from defiyield_assets.cli.health import Line, Looked
from defiyield_assets.cli.state_checks import BROKEN, GOOD, NOTE, Finding
from defiyield_assets.domain.days import newest_due_day
from defiyield_assets.errors import DefiYieldError
from defiyield_assets.observability.secrets import redactor
from defiyield_assets.observability.warehouse import newest_plan_day, open_for_reading

SHOWN = 5
"""Runs or daemons that a line names."""


def ready_warehouse(looked: Looked) -> list[Finding]:
    """The warehouse answers, is migrated and is that of this market; none at all is not ready."""
    return [
        Finding(one.area, BROKEN if one.state == NOTE else one.state, one.what, one.advice)
        for one in state_checks.warehouse(looked.settings, open_for_reading)
    ]


def daemon(looked: Looked) -> list[Finding]:
    """Every part of Dagster's daemon that is needed told of itself lately."""
    from dagster._daemon.controller import get_daemon_statuses

    with open_instance(looked.settings) as instance:
        needed = instance.get_required_daemon_types()
        told = get_daemon_statuses(instance, needed, looked.now.timestamp(), ignore_errors=True)
    silent = {name: status for name, status in told.items() if not status.healthy}
    if not silent:
        return [Finding("daemon", GOOD, f"{len(told)} parts report")]
    beats = [status.last_heartbeat.timestamp for status in silent.values() if status.last_heartbeat is not None]
    since = f"since {datetime.fromtimestamp(min(beats), UTC):%Y-%m-%d %H:%M} UTC" if beats else "and never did"
    what = f"{', '.join(sorted(silent)[:SHOWN])} ({len(silent)} of {len(told)}) do not report, {since}"
    return [Finding("daemon", BROKEN, what, "start `dagster-daemon run`: without it no day is run")]


def runs(looked: Looked) -> list[Finding]:
    """No run is in progress for longer than any should be."""
    from defiyield_assets.orchestration.instance_figures import begun, unfinished_runs

    with open_instance(looked.settings) as instance:
        unfinished = unfinished_runs(instance)
    earliest = (looked.now - looked.stuck_after).timestamp()
    stuck = [record for record in unfinished if begun(record) < earliest]
    if not stuck:
        return [Finding("runs", GOOD, f"{len(unfinished)} in progress, none for too long")]
    hours = looked.stuck_after / timedelta(hours=1)
    named = ", ".join(f"{one.dagster_run.job_name} {one.dagster_run.run_id[:8]}" for one in stuck[:SHOWN])
    what = f"{len(stuck)} in progress for more than {hours:g} hours: {named}"
    return [Finding("runs", BROKEN, what, "terminate in Dagster what hangs; its day is asked for again")]


def plan(looked: Looked) -> list[Finding]:
    """The newest day that is due has its plan."""
    engine = open_for_reading(looked.settings.warehouse_url)
    try:
        newest = newest_plan_day(engine)
    finally:
        engine.dispose()
    due = newest_due_day(looked.now)
    if newest is not None and newest >= due:
        return [Finding("plan", GOOD, f"the newest plan is of {newest}")]
    what = f"the newest plan is {f'of {newest}' if newest else 'none'}, that of {due} is due"
    return [Finding("plan", BROKEN, what, f"look at the runs of the day; `defiyield run --date {due}` makes it")]


Check = Callable[[Looked], list[Finding]]
CHECKS: dict[str, dict[str, Check]] = {
    "ready": {
        "database": ready_warehouse,
        "dagster": lambda looked: state_checks.dagster(looked.settings),
        "disk": lambda looked: state_checks.disk(looked.settings),
    },
    "fresh": {"daemon": daemon, "runs": runs, "plan": plan},
}
"""Probe -> its checks, in the order of telling."""


def look(probe: str, looked: Looked) -> Iterator[Line]:
    """What each check of the probe found, a line each, without secrets."""
    hide = redactor()
    for subject, check in CHECKS[probe].items():
        for one in _tried(subject, check, looked):
            yield Line(probe, one.area, one.state != BROKEN, hide.text(one.what), hide.text(one.advice))


def _tried(subject: str, check: Check, looked: Looked) -> list[Finding]:
    """What the check found; one that fails is a finding itself, and takes no other down."""
    try:
        return check(looked)
    except DefiYieldError as error:
        return [Finding(subject, BROKEN, str(error), "`defiyield doctor` says more")]
    except Exception as error:  # noqa: BLE001 - whatever a store raises is what the probe is to tell
        what = f"cannot be looked at: {type(error).__name__}: {' '.join(str(error).split())}"
        return [Finding(subject, BROKEN, what, "`defiyield doctor` says more")]
