"""The sections about what happened: forecasts' worth, icebox, degraded assets.

Lives here: tables made from scores, icebox and outcomes. Not here: the ledger (ledger_sections.py), the plan
(plan_sections.py).
"""

import pandas as pd

from defiyield_assets.domain.forecasting.scoreboard import CHAMPION, WINDOW_DAYS
from defiyield_assets.domain.outcomes import group_by_roots
from defiyield_assets.domain.reporting.formats import (
    UNKNOWN,
    clean,
    is_missing,
    number,
    percent,
    signed_percent,
)
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records

SCORE_TARGETS = ("apy", "apy_base", "apy_reward", "base_fee_gwei", "gas_price_gwei", "tvl_usd")
SCORE_COLUMNS = (
    *text("Target"),
    *numbers("Days ahead", "Forecasts", "Mean error", "Error of the last value", "Better by", "Within p10–p90"),
)
SCOREBOARD_COLUMNS = (
    *text("Target"),
    *numbers("Days ahead", "Forecasts", "Mean error", "Bias", "Better by", "Last 30 days", "MASE", "Within p10–p90"),
    *text("Best model"),
    *numbers("Better by"),
)
ICEBOX_COLUMNS = (
    *text("Token", "Chain", "Since", "Why"),
    *numbers("Low", "Close", "Good lows", "Good closes"),
    *text("Address"),
)
COMPARABLE = 0.9
"""Share of the champions' forecasts that a single model must have made to be called better or worse than others: the
costly ones speak of few pools on few days."""
EVENT_COLUMNS = text("Token", "Event", "Why", "Address")
FAILURE_COLUMNS = text("Asset", "Status", "What happened", "Recoverable")
RESTING_COLUMNS = (*text("What"), *numbers("Assets"), *text("Which"))


def scores_section(inputs: ReportInputs) -> Section:
    """How good the champions' forecasts were: those that fell due on the day, and over the last months."""
    title = "How good the forecasts were"
    scores = inputs.forecast_scores
    scores = scores.loc[scores["is_champion"].astype(bool)]
    due = tuple(
        _score_row(target, int(horizon), of_horizon)
        for target in SCORE_TARGETS
        for horizon, of_horizon in sorted(_by_horizon(scores.loc[scores["target"] == target]).items())
    )
    board = inputs.forecast_scoreboard
    lately = tuple(
        _scoreboard_row(target, int(horizon), of_horizon)
        for target in SCORE_TARGETS
        for horizon, of_horizon in sorted(_by_horizon(board.loc[board["target"] == target]).items())
        if CHAMPION in set(of_horizon["model"])
    )
    words = "Better by compares with repeating the last value."
    if due:
        words = f"Forecasts that fell due today against what happened. {words}"
    else:
        words = f"No forecast fell due today. {words}" if lately else "No forecast fell due today."
    tables = [Table(SCORE_COLUMNS, due)] if due else []
    if lately:
        caption = f"Forecasts that fell due in the last {WINDOW_DAYS} days, and the single model that was best at each"
        tables.append(Table(SCOREBOARD_COLUMNS, lately, caption=caption))
    return Section("scores", title, (words,), tables=tuple(tables))


def _by_horizon(scores: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(horizon): scores.loc[scores["horizon_days"] == horizon] for horizon in set(scores["horizon_days"])}


def _score_row(target: str, horizon: int, scores: pd.DataFrame) -> tuple[str, ...]:
    error = float(scores["absolute_error"].astype(float).mean())
    naive = float(scores["naive_absolute_error"].astype(float).mean())
    # A pool that pays nothing has nothing to cover.
    banded = scores.loc[scores["has_band"].astype(bool)]
    covered = float(banded["is_covered"].astype(bool).mean()) if len(banded) else None
    return (
        target,
        number(horizon),
        number(len(scores)),
        _in_unit(target, error),
        _in_unit(target, naive),
        signed_percent(1.0 - error / naive, 0) if naive > 0 else UNKNOWN,
        percent(covered, 0),
    )


def _scoreboard_row(target: str, horizon: int, board: pd.DataFrame) -> tuple[str, ...]:
    (champion,) = records(board.loc[board["model"] == CHAMPION])
    ranked = [
        row
        for row in records(board)
        if row["model"] != CHAMPION
        and not is_missing(row["skill"])
        and row["n_forecasts"] >= COMPARABLE * champion["n_forecasts"]
    ]
    best = min(ranked, key=lambda row: (-row["skill"], str(row["model"])), default=None)
    return (
        target,
        number(horizon),
        number(champion["n_forecasts"]),
        _in_unit(target, champion["mae"]),
        _in_unit(target, champion["bias"], "+"),
        signed_percent(champion["skill"], 0),
        signed_percent(champion["skill_30d"], 0),
        number(champion["mase"], 2),
        percent(champion["coverage"], 0),
        clean(best["model"], 40) if best else UNKNOWN,
        signed_percent(best["skill"], 0) if best else UNKNOWN,
    )


def _in_unit(target: str, error: float, sign: str = "") -> str:
    """An error in the unit in which people speak of the target; `sign` "+" puts one before a positive error."""
    if target.startswith("apy"):
        return f"{error * 100:{sign}.2f} pp"
    if target.endswith("_gwei"):
        return f"{error:{sign},.3f} gwei"
    return f"{'-' if error < 0 else sign}${number(abs(error))}"


def icebox_section(inputs: ReportInputs) -> Section:
    """Tokens that may not be bought, and what changed today."""
    barred = tuple(
        (
            clean(row["symbol"], 24),
            clean(row["chain"], 24),
            str(row["since"]),
            clean(row["reason"]) + (" (manual)" if bool(row["is_manual"]) else ""),
            number(row["last_low"], 4),
            number(row["last_close"], 4),
            number(row["good_lows"]),
            number(row["good_closes"]),
            clean(row["address"], 60),
        )
        for row in records(inputs.icebox)
    )
    events = tuple(
        (
            clean(row["symbol"], 24),
            clean(row["kind"], 24).replace("_", " "),
            clean(row["reason"]),
            clean(row["address"], 60),
        )
        for row in records(inputs.icebox_events)
    )
    words = f"{len(barred)} tokens are barred at the end of the day." if barred else "No token is barred."
    tables = []
    if barred:
        tables.append(Table(ICEBOX_COLUMNS, barred, caption="Barred tokens"))
    if events:
        tables.append(Table(EVENT_COLUMNS, events, caption="Events of the day"))
    else:
        words += " Nothing entered or left today."
    return Section("icebox", "Icebox", (words.replace("1 tokens are", "1 token is", 1),), tables=tuple(tables))


def failures_section(inputs: ReportInputs) -> Section:
    """Assets of the day that are degraded or failed, and below each what rests on it."""
    title = "Degraded and failed assets"
    outcomes = records(inputs.outcomes)
    own, resting = group_by_roots({str(row["asset"]): str(row["reason"]) for row in outcomes})
    rows = tuple(
        (
            clean(row["asset"], 60),
            clean(row["status"], 20),
            f"{clean(row['error_class'], 60)}: {clean(row['reason'], 400)}",
            "yes" if bool(row["is_recoverable"]) else "no",
        )
        for row in outcomes
        if row["asset"] in own
    )
    if not outcomes:
        return Section("failures", title, ("None: every asset of the day is complete.",))
    words = "What is missing here is missing from the plan as well."
    tables = [Table(FAILURE_COLUMNS, rows)] if rows else []
    if resting:
        listed = tuple(
            (clean(reason, 400), number(len(assets)), clean(", ".join(assets), 1_000))
            for reason, assets in sorted(resting.items())
        )
        tables.append(Table(RESTING_COLUMNS, listed, caption="What rests on them"))
    return Section("failures", title, (words,), tables=tuple(tables))
