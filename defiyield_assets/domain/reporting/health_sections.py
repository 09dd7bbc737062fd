"""The section about the data of the day: what failed or is partial, how old each source is, and which rules broke.

Lives here: tables made from asset_outcomes, ages of sources, judged checks and pool_quality; and what of it changes how
one should act. Not here: the rules themselves (domain/outcomes.py, domain/ledger/checks.py, domain/pools/quality.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from defiyield_assets.domain.outcomes import DEGRADED, RESTS_ON, STAYING, UPSTREAM_NOT_RECOVERABLE, group_by_roots
from defiyield_assets.domain.reporting.formats import clean, is_missing, number
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records

TITLE = "Data health"
PLAN_STEP = "allocation"
"""The asset that makes the plan, as asset_outcomes names it."""
OF_MANY = frozenset(
    {
        "pool_histories",
        "lending_histories",
        "closes_defillama",
        "ohlcv_coinmarketcap",
        "ohlcv_coingecko",
        "ohlcv_alpha_vantage",
        "observations",
        "pendle_markets",
        "resolved_underlyings",
        "share_rates",
        "gas_fees_hourly",
    }
)
"""Sources asked about many pools, tokens or hours. Where some of these are missing, the filters leave out the pools
that it concerns, or an estimate stands in: the plan is as good as before, so that is told but is no alarm."""
FAILURE_COLUMNS = text("Asset", "Status", "What happened", "Asked again")
RESTING_COLUMNS = (*text("What", "Status"), *numbers("Assets"), *text("Which"))
SOURCE_COLUMNS = (*text("Source", "Newest day"), *numbers("Days old"))
FINDING_COLUMNS = (*text("Finding"), *numbers("Pools"))
CHECK_COLUMNS = (*text("Check", "Result"), *numbers("Violations"), *text("For example"))


def health_section(inputs: ReportInputs) -> Section:
    """Degraded, failed and skipped assets with what rests on them, ages of sources, checks and findings in pools."""
    outcomes = records(inputs.outcomes)
    words = (
        "What is missing here is missing from the plan as well."
        if outcomes
        else f"Every asset of {inputs.day} is complete."
    )
    tables = [*_outcome_tables(outcomes), checks_table(inputs), _sources(inputs), _findings(inputs)]
    found = tuple(table for table in tables if table is not None)
    return Section("health", TITLE, (words, *_quality_words(inputs)), tables=found)


def care_words(inputs: ReportInputs) -> tuple[str | None, bool]:
    """The assets in trouble by name and how many rest on them, None without any; and whether that changes how one
    should act: the plan rests on a source that failed or lacks more than parts.

    What is only not configured or not confirmed is listed below, but is no reason to read otherwise.
    """
    outcomes = [row for row in records(inputs.outcomes) if row["error_class"] not in STAYING]
    if not outcomes:
        return None, False
    own, resting = group_by_roots({str(row["asset"]): str(row["reason"]) for row in outcomes})
    named = sorted(own) or sorted(resting)
    under_plan = _under_plan(outcomes)
    grave = [
        str(row["asset"])
        for row in outcomes
        if str(row["asset"]) in under_plan and not (row["error_class"] == DEGRADED and _is_of_many(str(row["asset"])))
    ]
    listed = ", ".join(clean(name, 60) for name in named[:8])
    listed += f" and {len(named) - 8} more" if len(named) > 8 else ""
    n_resting = sum(map(len, resting.values())) if own else 0
    rest = f"; {n_resting} {'asset rests' if n_resting == 1 else 'assets rest'} on them." if n_resting else "."
    if grave:
        return f"Read with care: degraded or failed on {inputs.day}: {listed}{rest}", True
    return f"Not everything came on {inputs.day}: {listed}{rest} See data health.", False


def broken_words(inputs: ReportInputs) -> str | None:
    """The rules that the day's tables break; None when all hold."""
    broken = [check for check in inputs.checks if check.violations]
    if not broken:
        return None
    listed = ", ".join(f"{clean(check.name, 60)} ({len(check.violations)})" for check in broken)
    return f"Do not rely on these figures before it is explained: checks that fail on {inputs.day}: {listed}."


def _under_plan(outcomes: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Roots that the plan rests on, and the plan itself where it is in trouble."""
    reasons = {str(row["asset"]): str(row["reason"]) for row in outcomes}
    reason = reasons.get(PLAN_STEP)
    if reason is None:
        return frozenset()
    own = set(reasons) - {asset for asset, said in reasons.items() if said.startswith(RESTS_ON)}
    named = set(reason.removeprefix(RESTS_ON).split(", ")) if reason.startswith(RESTS_ON) else set()
    return frozenset((own & named) | ({PLAN_STEP} & own))


def _is_of_many(asset: str) -> bool:
    """Whether it is a source asked about many things; a part of one, such as its exchanges, stands behind a colon."""
    return asset.partition(":")[0] in OF_MANY


def _outcome_tables(outcomes: Sequence[Mapping[str, Any]]) -> list[Table]:
    by_asset = {str(row["asset"]): row for row in outcomes}
    own, resting = group_by_roots({asset: str(row["reason"]) for asset, row in by_asset.items()})
    rows = tuple(
        (
            clean(row["asset"], 60),
            clean(row["status"], 20),
            f"{clean(row['error_class'], 60)}: {clean(row['reason'], 400)}",
            "yes" if bool(row["is_recoverable"]) else "no",
        )
        for asset, row in by_asset.items()
        if asset in own
    )
    caption = "Degraded and failed assets"
    tables = [Table(FAILURE_COLUMNS, rows, caption=caption, fold="never")] if rows else []
    if resting:
        grouped: dict[tuple[str, str], list[str]] = {}
        for reason, assets in sorted(resting.items()):
            for asset in assets:
                grouped.setdefault((reason, _status(by_asset[asset])), []).append(asset)
        listed = tuple(
            (clean(reason, 400), status, number(len(assets)), clean(", ".join(assets), 1_000))
            for (reason, status), assets in grouped.items()
        )
        tables.append(Table(RESTING_COLUMNS, listed, caption="What rests on them"))
    return tables


def _status(row: Mapping[str, Any]) -> str:
    """An asset that was not even tried, because what it rests on will not come, is skipped rather than failed."""
    return "skipped" if row["error_class"] == UPSTREAM_NOT_RECOVERABLE else clean(row["status"], 20)


def checks_table(inputs: ReportInputs) -> Table | None:
    """The rules that were judged of the day's tables, broken ones first."""
    if not inputs.checks:
        return None
    rows = tuple(
        (
            clean(check.name, 60),
            "fails" if check.violations else "holds",
            number(len(check.violations)),
            clean(check.violations[0]) if check.violations else "",
        )
        for check in sorted(inputs.checks, key=lambda check: (not check.violations, check.name))
    )
    return Table(CHECK_COLUMNS, rows, caption="Rules that the day's tables were held against for this page")


def _sources(inputs: ReportInputs) -> Table | None:
    """Up to which day each source is known, the oldest first."""
    if not inputs.newest_days:
        return None
    ages = [
        (name, newest, None if newest is None else (inputs.day - newest).days)
        for name, newest in inputs.newest_days.items()
    ]
    ages.sort(key=lambda item: (item[2] is not None, -(item[2] or 0), item[0]))
    rows = tuple(
        (clean(name, 60), "never told" if newest is None else str(newest), "" if age is None else number(age))
        for name, newest, age in ages
    )
    return Table(SOURCE_COLUMNS, rows, caption=f"Sources and their age at the end of {inputs.day}")


def _findings(inputs: ReportInputs) -> Table | None:
    """How many pools each finding of the quality check barred or touched."""
    counts: dict[str, int] = {}
    for row in records(inputs.pool_quality):
        for code in filter(None, str(row["reason_codes"]).split(",")):
            counts[clean(code, 40)] = counts.get(clean(code, 40), 0) + 1
    if not counts:
        return None
    order = sorted(counts, key=lambda code: (-counts[code], code))
    rows = tuple((code.lower().replace("_", " "), number(counts[code])) for code in order)
    return Table(FINDING_COLUMNS, rows, caption="What is wrong with the data of pools (a pool may have several)")


def _quality_words(inputs: ReportInputs) -> tuple[str, ...]:
    quality = inputs.pool_quality
    words = []
    if len(quality):
        passed = int(quality["is_passed"].astype(bool).sum())
        words.append(f"Data of {number(passed)} of {number(len(quality))} followed pools passed the quality check.")
    forecasts = [row for row in records(inputs.pool_forecasts) if not is_missing(row["is_hindsight"])]
    late = {str(row["pool_id"]) for row in forecasts if bool(row["is_hindsight"])}
    if late:
        total = len({str(row["pool_id"]) for row in forecasts})
        words.append(
            f"Forecasts of {number(len(late))} of {number(total)} pools rest on values seen only after the day: it was "
            "made up later than it happened."
        )
    return tuple(words)
