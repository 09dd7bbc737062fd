"""Every figure that the metrics endpoint has: name, kind, labels and what it means.

Lives here: the catalogue, from which the exposition and docs/reference/operations.md are made. Not here: where a figure
comes from (warehouse.py, archive.py, budgets.py, orchestration/instance_figures.py), or serving it (server.py).

Names follow Prometheus: base units in the name, `_ratio` for fractions, `_timestamp_seconds` for instants. All are
gauges, counts too: they are of what is stored, retention makes them smaller, and Prometheus would take a counter that
shrinks for one that began anew at zero (so `delta`, never `rate`). A label never holds what comes from outside (a pool,
a token, a wallet, words of a vendor): its values are names of our own code, so that there are only so many of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIX = "defiyield_"


@dataclass(frozen=True)
class Family:
    """One metric: `name` without the prefix."""

    name: str
    subject: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name as Prometheus has it."""
        return f"{PREFIX}{self.name}"


@dataclass(frozen=True)
class Sample:
    """One value of a family."""

    family: str
    value: float
    labels: tuple[str, ...] = ()


KEPT = "of all that the archive keeps"
FLOATS = "a float64 of an exact amount, for watching only"
_SERVICE, _RUNS, _ASSETS, _VENDORS = "The service", "Runs", "Assets and checks", "Vendors and the archive"
_PLAN, _LEDGER, _STORE = "The plan", "The ledger", "Size"

_ALL = (
    Family("up", _SERVICE, "1 when the store answered this scrape, else 0", ("store",)),
    Family("build_info", _SERVICE, "Always 1; what is running", ("version", "revision", "market")),
    Family("warehouse_is_migrated", _SERVICE, "1 when the warehouse is at the revision that the program needs"),
    Family("reading_success", _SERVICE, "1 when the group of figures could be read for this scrape", ("reading",)),
    Family("reading_duration_seconds", _SERVICE, "How long the group took when it was read last", ("reading",)),
    Family("daemon_heartbeat_timestamp_seconds", _SERVICE, "Last heartbeat of a part of Dagster's daemon", ("daemon",)),
    Family("disk_free_bytes", _SERVICE, "Free space of the disk with the state folder"),
    Family("disk_size_bytes", _SERVICE, "Size of that disk"),
    Family(
        "backup_timestamp_seconds",
        _SERVICE,
        "When the newest backup was finished; 0 for none, absent where none are watched",
    ),
    Family("runs", _RUNS, "Stored runs of Dagster by job and status", ("job", "status")),
    Family("run_oldest_start_timestamp_seconds", _RUNS, "Start of the oldest run that is still in progress", ("job",)),
    Family("run_last_success_timestamp_seconds", _RUNS, "End of the job's last run that succeeded", ("job",)),
    Family("run_last_success_duration_seconds", _RUNS, "How long that run took", ("job",)),
    Family("run_last_failure_timestamp_seconds", _RUNS, "End of the job's last run that failed", ("job",)),
    Family(
        "asset_newest_partition_timestamp_seconds",
        _ASSETS,
        "Start of the newest UTC day that the asset of the daily graph was materialised for; 0 for never",
        ("asset", "schedule"),
    ),
    Family(
        "check_failed", _ASSETS, "1 when the last evaluation of the check did not pass", ("asset", "check", "severity")
    ),
    Family("plan_replay_errors", _PLAN, "Errors that the independent replay of the newest plan found"),
    Family("reconciliation_breaks", _LEDGER, "Violations that the check of the ledger found last", ("check",)),
    Family(
        "archive_answers",
        _VENDORS,
        "Answers that the asset's last run took from the archive, or asked for",
        ("asset", "outcome"),
    ),
    Family("asset_outcomes", _ASSETS, "Assets of the newest day that was begun, by what became of them", ("status",)),
    Family("asset_outcome", _ASSETS, "1 for an asset of that day that is degraded or failed", ("asset", "status")),
    Family("day_begun_timestamp_seconds", _ASSETS, "Start of the newest UTC day that was begun"),
    Family("vendor_requests", _VENDORS, f"Requests by HTTP status class, {KEPT}", ("vendor", "status")),
    Family("vendor_attempts", _VENDORS, f"Attempts of these requests, retries included, {KEPT}", ("vendor",)),
    Family(
        "vendor_errors", _VENDORS, f"Requests that failed, by class of the error, {KEPT}", ("vendor", "error_class")
    ),
    Family("vendor_waited_seconds", _VENDORS, f"Time spent waiting for pace and retries, {KEPT}", ("vendor",)),
    Family(
        "vendor_calls",
        _VENDORS,
        "Calls (or credits) reserved in the present period of the budget",
        ("vendor", "period"),
    ),
    Family("vendor_budget_limit", _VENDORS, "What the vendor allows a key in the period", ("vendor", "period", "unit")),
    Family(
        "vendor_budget_left", _VENDORS, "What is left of it, of the key that used most", ("vendor", "period", "unit")
    ),
    Family("archive_bodies", _VENDORS, "Different answers that the archive holds"),
    Family("archive_body_bytes", _VENDORS, "Their size before compression"),
    Family("revisions_seen", _VENDORS, "Past values of pools that the vendor changed, seen on the newest day"),
    Family("plan_day_timestamp_seconds", _PLAN, "Start of the newest UTC day that has a plan; 0 for none"),
    Family("plan_status", _PLAN, "1 for the status of the newest plan, 0 for the others", ("status",)),
    Family("plan_aum_usd", _PLAN, f"Investable capital ({FLOATS})"),
    Family("plan_expected_apy_ratio", _PLAN, "Expected APY of the plan on all capital, after costs"),
    Family("plan_hold_apy_ratio", _PLAN, "Expected APY of doing nothing"),
    Family("plan_gain_over_hold_usd", _PLAN, f"Expected gain over the horizon against doing nothing ({FLOATS})"),
    Family("plan_cost_usd", _PLAN, f"Cost of the plan's steps ({FLOATS})", ("kind",)),
    Family("plan_turnover_ratio", _PLAN, "Moved value over capital"),
    Family("plan_steps", _PLAN, "Transactions of the plan"),
    Family("plan_solver_seconds", _PLAN, "Time of the first solver"),
    Family("plan_solver_gap_usd", _PLAN, "Absolute gap of the first solver, as it tells it in float64"),
    Family(
        "icebox_tokens", _PLAN, "Tokens that are barred on the newest day whose icebox is known: lost pegs, overrides"
    ),
    Family("icebox_entries", _PLAN, "Tokens that were barred on that very day"),
    Family("nav_day_timestamp_seconds", _LEDGER, "Start of the newest UTC day with a net asset value; 0 for none"),
    Family("nav_usd", _LEDGER, f"Net asset value ({FLOATS})"),
    Family("nav_part_usd", _LEDGER, f"Where it is ({FLOATS})", ("part",)),
    Family("nav_return_1d_ratio", _LEDGER, "Time-weighted return of the newest day; flows of capital do not count"),
    Family("nav_return_30d_ratio", _LEDGER, "Time-weighted return of the 30 days up to it"),
    Family("nav_idle_ratio", _LEDGER, "Share of the net asset value that is in no pool"),
    Family("unexplained_transactions", _LEDGER, "Transactions that the ledger could not explain on the newest day"),
    Family("unexplained_usd", _LEDGER, f"Sum of their absolute values ({FLOATS})"),
    Family("table_rows", _STORE, "Rows of a table: counted on SQLite, estimated on PostgreSQL", ("table",)),
    Family("table_size_bytes", _STORE, "Size of a table with its indexes (PostgreSQL only)", ("table",)),
    Family("warehouse_size_bytes", _STORE, "Size of the whole warehouse"),
    Family("event_log_size_bytes", _STORE, "Size of Dagster's event log"),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
"""Name without the prefix -> the family; in the order of the exposition."""


def by_subject() -> Mapping[str, list[Family]]:
    """The families as pages group them."""
    found: dict[str, list[Family]] = {}
    for family in _ALL:
        found.setdefault(family.subject, []).append(family)
    return found


def require_known(samples: Iterable[Sample]) -> list[Sample]:
    """The same samples; LookupError for a family that is not in the catalogue, ValueError for other labels than its."""
    found = list(samples)
    for sample in found:
        family = FAMILIES.get(sample.family)
        if family is None:
            raise LookupError(f"no metric {sample.family}: declare it in families.py")
        if len(sample.labels) != len(family.labels):
            raise ValueError(f"{family.full_name} has the labels {family.labels}, not {len(sample.labels)} values")
    return found
