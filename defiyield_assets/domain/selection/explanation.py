"""One pool explained: every verdict from the pre-filter to the plan, what holds it, and what would have to change.

Lives here: finding a pool by what somebody typed, the stages of a day, the history of verdicts, and what would change
them. Not here: the rules themselves (prefilter.py, final.py, domain/allocation), their codes and words (reasons.py),
reading tables (store/evidence.py), drawing (cli/explain.py, domain/reporting/explanation_sections.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any

import pandas as pd

from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.selection.reasons import FINAL, PREFILTER

Row = Mapping[str, Any]
Rows = Sequence[Row]
MOST_NAMED = 12
"""Pools that an answer to an unclear name tells."""
PASSED, REFUSED, DOUBTED, UNTOLD = "passed", "refused", "doubtful", "unknown"

CHANGES = {
    "PROTOCOL_NOT_APPROVED": "approve the protocol: `defiyield config edit lists add protocol {protocol} --reason …`",
    "CHAIN_NOT_ALLOWED": "name the chain in parameters.chains of policy.yaml",
    "NO_UNDERLYING": "tell the underlying tokens in a dated override: `defiyield config edit lists add override "
    "{pool_id} --set 'underlying_addresses=[\"0x…\"]' --reason …`",
    "TOKEN_NOT_APPROVED": "approve the tokens named: `defiyield config edit lists add token ADDRESS --set symbol=… "
    "--set decimals=… --set issuer=… --reason …`",
    "TOKEN_BLACKLISTED": "take the token off the blacklist: `defiyield config edit lists remove blacklist ADDRESS "
    "--reason …`",
    "MARKET_CAP_TOO_SMALL": "the token has to grow, or token_market_cap_min_usd has to be lower",
    "RESERVES_UNBALANCED": "the pool's reserves have to come into balance (pair_reserve_ratio_min and _max)",
    "ACCESS_RESTRICTED": "have the wallet listed, and name the token in permitted_tokens of accounts.yaml",
    "EXIT_TOO_SLOW": "max_exit_days has to be longer",
    "MATURES_WITHIN_HORIZON": "nothing: it matures too soon; its successor is another pool",
    "NO_MATURITY": "tell the maturity in a dated override of the pool",
    "NOT_A_DOLLAR_POOL": "nothing: it is no dollar pool, unless an override tells another role",
    "SIZE_UNKNOWN": "the vendor has to tell its size",
    "TOO_SMALL": "the pool has to grow, or pool_tvl_min_usd has to be lower",
    "STALE": "the vendor has to refresh its row",
    "NOT_LISTED": "the vendor has to list it again; did its id change, pool_aliases of policy.yaml joins the two",
    "NO_FORECAST": "it needs a history long enough for a forecast",
    "FORECAST_TOO_LOW": "its forecast has to rise to pool_apy_min",
    "IN_ICEBOX": "the token has to hold its peg for the days that the icebox asks for",
    "TOO_YOUNG": "time: it has to be known for pool_age_min_days",
    "QUALITY_FAILED": "its data have to be sound again",
    "QUALITY_UNKNOWN": "its data have to be assessed: `defiyield run` of the day has to reach pool_quality",
    "GROUP_NOT_ALLOWED": "its risk group has to fall, or max_group_share has to give the group room",
}
"""Reason code -> what would have to change; a test proves that none is missing."""
REACH = {
    "MARKET_CAP_TOO_SMALL": "token_market_cap_min_usd is {token_market_cap_min_usd:,.0f} USD",
    "RESERVES_UNBALANCED": "the smaller side has to be {pair_reserve_ratio_min:.0%} to {pair_reserve_ratio_max:.0%}",
    "EXIT_TOO_SLOW": "max_exit_days is {max_exit_days}",
    "TOO_SMALL": "pool_tvl_min_usd is {pool_tvl_min_usd:,.0f} USD",
    "FORECAST_TOO_LOW": "pool_apy_min is {pool_apy_min:.2%}",
    "TOO_YOUNG": "pool_age_min_days is {pool_age_min_days}",
}
"""Reason code -> the figure of the policy that has to be reached, with the names of its parameters."""
NOW = {
    "TOO_SMALL": ("size_usd", ",.0f", " USD"),
    "FORECAST_TOO_LOW": ("mean", ".2%", ""),
    "TOO_YOUNG": ("age_days", ",.0f", ""),
}
"""Reason code -> where today's figure stands, and how it is written."""
SMALLEST = re.compile(r"the smallest (deposit|position) is ([0-9,]+\.[0-9]{2}) USD")


@dataclass(frozen=True)
class Known:
    """A pool as people may name it."""

    pool_id: str
    symbol: str
    protocol: str
    chain: str

    @property
    def name(self) -> str:
        """How it is called where the id is not enough."""
        place = "" if self.chain in ("Ethereum", "") else f" ({self.chain})"
        return f"{self.symbol} · {self.protocol}{place}"


@dataclass(frozen=True)
class Stage:
    """One judgement of the day. `verdict`: passed, refused, doubtful, unknown, or the plan's action."""

    name: str
    verdict: str
    codes: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Limit:
    """A limit of the plan that concerns the pool; fractions and exact dollars as stored, null where unknown.

    `worth_by`: solved, the day again with the limit relaxed, or shadow_price, which is about that.
    """

    name: str
    subject: str
    limit_usd: Any
    used_usd: Any
    is_binding: bool
    relaxation: str
    worth_usd: Any
    worth_by: str | None


@dataclass(frozen=True)
class PastVerdict:
    """What became of the pool on one day; None: the day's table does not know it."""

    day: date
    is_prefiltered: bool | None
    is_eligible: bool | None
    action: str | None
    share_of_aum: float | None
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """All that is known of one pool on one day."""

    day: date
    pool: Known
    answer: str
    stages: tuple[Stage, ...]
    figures: Mapping[str, Any]
    limits: tuple[Limit, ...]
    changes: tuple[str, ...]
    history: tuple[PastVerdict, ...]


@dataclass(frozen=True)
class Evidence:
    """Rows of the tables that speak of one pool, null None. Their day is `date` (`as_of` of forecasts).

    `prefiltered`, `eligible`, `allocations`: rows of the pool over all days asked for, up to `day`; the others of the
    day alone. `icebox` holds the barred tokens of the day, `allocation_limits` all limits of its plan.
    """

    prefiltered: Rows = ()
    eligible: Rows = ()
    allocations: Rows = ()
    quality: Rows = ()
    groups: Rows = ()
    metrics: Rows = ()
    forecasts: Rows = ()
    allocation_limits: Rows = ()
    runs: Rows = ()
    parameters: Parameters | None = None


def known_pools(frame: pd.DataFrame) -> list[Known]:
    """Every pool of rows with pool_id, symbol, protocol and chain, by id."""
    columns = (frame[name].astype(str) for name in ("pool_id", "symbol", "protocol", "chain"))
    found = {row[0]: Known(*row) for row in zip(*columns, strict=True)}
    return [found[key] for key in sorted(found)]


def matching_pools(typed: str, pools: Sequence[Known]) -> list[Known]:
    """The pools that somebody may mean: by id, else by the id's beginning, else by words of symbol and protocol.

    Words are told apart by spaces, `·` and `/`; case does not count. A name that is exactly one symbol or protocol
    wins over names that hold it.
    """
    wanted = typed.strip().lower()
    words = [word for word in wanted.replace("·", " ").replace("/", " ").split() if word]
    if not words:
        return []
    exact = [pool for pool in pools if pool.pool_id.lower() == wanted]
    if exact:
        return exact
    if len(words) == 1:
        begun = [pool for pool in pools if pool.pool_id.lower().startswith(wanted)]
        if begun:
            return begun
    whole = [pool for pool in pools if set(words) <= _names(pool)]
    return whole or [pool for pool in pools if all(any(word in name for name in _names(pool)) for word in words)]


def _names(pool: Known) -> set[str]:
    return {pool.symbol.lower(), pool.protocol.lower(), pool.chain.lower()}


def unclear_words(typed: str, found: Sequence[Known], pools: Sequence[Known]) -> str:
    """What is said when a name means no pool, or several."""
    if found:
        named = "; ".join(f"{pool.pool_id} {pool.name}" for pool in found[:MOST_NAMED])
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        return f"{typed!r:.80} means {len(found)} pools: {named}{more}. Give an id or its beginning"
    names = {name: pool for pool in pools for name in (pool.name.lower(), pool.symbol.lower(), pool.protocol.lower())}
    near = get_close_matches(typed.lower()[:80], sorted(names), n=3, cutoff=0.5)
    hint = f"; near it: {', '.join(near)}" if near else ""
    return f"no pool {typed!r:.80} is known on this day{hint}. A pool is named by id, the id's beginning or its name"


def explain_pool(pool: Known, day: date, evidence: Evidence) -> Explanation:
    """Everything that decided about the pool on the day."""
    before, final = _of_day(evidence.prefiltered, day), _of_day(evidence.eligible, day)
    planned = _planned(evidence.allocations).get(day)
    stages = [
        _verdict("pre-filter", before, "the vendor does not list it on this day"),
        *_evidence_stages(evidence),
        _verdict("final filter", final, _why_not_judged(before)),
        _plan_stage(planned, final, evidence.runs),
    ]
    limits = tuple(_limits_of(pool, planned, evidence.allocation_limits))
    return Explanation(
        day=day,
        pool=pool,
        answer=_answer(pool, before, final, planned, evidence.runs),
        stages=tuple(stages),
        figures=_figures(before, final, planned, evidence),
        limits=limits,
        changes=tuple(_changes(pool, before, final, planned, limits=limits, evidence=evidence)),
        history=tuple(_history(evidence)),
    )


def _of_day(rows: Rows, day: date) -> Row | None:
    return next((row for row in rows if row["date"] == day), None)


def _planned(rows: Rows) -> dict[date, Row]:
    """The plan's word on the pool by day; of a pool of several tokens the parts are added up."""
    found: dict[date, dict[str, Any]] = {}
    for row in rows:
        whole = found.setdefault(row["date"], {**row, "value_usd": 0, "share_of_aum": 0.0})
        whole["value_usd"] += row["value_usd"]
        whole["share_of_aum"] += row["share_of_aum"]
    return dict(found)


def _first(rows: Rows) -> Row | None:
    return rows[0] if rows else None


def _codes(text: Any) -> tuple[str, ...]:
    return tuple(code for code in str(text or "").split(",") if code)


def _verdict(name: str, row: Row | None, otherwise: str) -> Stage:
    """A filter's row as a stage."""
    if row is None:
        return Stage(name, UNTOLD, (), otherwise)
    codes, doubts = _codes(row["reason_codes"]), _codes(row["warning_codes"])
    verdict = REFUSED if not row["is_passed"] else DOUBTED if doubts else PASSED
    return Stage(name, verdict, (*codes, *doubts), str(row["reasons"]) or "nothing speaks against it")


def _why_not_judged(before: Row | None) -> str:
    if before is not None and not before["is_passed"]:
        return "not judged: it did not pass the pre-filter, and we do not hold it"
    return "not judged on this day"


def _evidence_stages(evidence: Evidence) -> list[Stage]:
    """Data quality, risk group and forecast of the day."""
    quality, group, forecast = _first(evidence.quality), _first(evidence.groups), _horizon_forecast(evidence)
    stages = []
    if quality is None:
        stages.append(Stage("data quality", UNTOLD, (), "not assessed: its history is not followed"))
    else:
        codes = _codes(quality["reason_codes"])
        verdict = REFUSED if not quality["is_passed"] else DOUBTED if codes else PASSED
        stages.append(Stage("data quality", verdict, codes, str(quality["reasons"]) or "no finding"))
    if group is None:
        stages.append(Stage("risk group", UNTOLD, (), "not rated"))
    else:
        number = int(group["pool_group"])
        stages.append(Stage("risk group", DOUBTED if number == 4 else PASSED, (), f"{number}: {group['reason']}"))
    if forecast is None:
        stages.append(Stage("forecast", UNTOLD, (), "no forecast of its APY over the policy's horizon"))
    else:
        words = (
            f"{forecast['mean']:.2%} over {int(forecast['horizon_days'])} days "
            f"({forecast['p10']:.2%} to {forecast['p90']:.2%}), by {forecast['model']}, chosen by the evidence of: "
            f"{forecast['tier']}"
        )
        stages.append(Stage("forecast", PASSED, (), words))
    return stages


def _horizon_forecast(evidence: Evidence) -> Row | None:
    """The APY forecast over the plan's horizon; over the longest one where there is no plan."""
    rows = [row for row in evidence.forecasts if row["target"] == "apy"]
    run = _first(evidence.runs)
    exact = [row for row in rows if run is not None and row["horizon_days"] == run["horizon_days"]]
    return max(exact or rows, key=lambda row: int(row["horizon_days"]), default=None)


def _plan_stage(planned: Row | None, final: Row | None, runs: Rows) -> Stage:
    if planned is not None:
        codes = () if _is_null(planned["binding_limit"]) else (str(planned["binding_limit"]),)
        return Stage("plan", str(planned["action"]), codes, str(planned["why"]))
    if not runs:
        return Stage("plan", UNTOLD, (), "no plan was made on this day")
    if final is not None and not final["is_passed"]:
        return Stage("plan", REFUSED, (), "not offered to the optimiser: the final filter refused it")
    return Stage("plan", UNTOLD, (), "the plan does not speak of it")


def _is_null(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _answer(pool: Known, before: Row | None, final: Row | None, planned: Row | None, runs: Rows) -> str:
    """In or out, and why, in one sentence."""
    if planned is not None:
        action = str(planned["action"])
        if action == "left_out":
            return f"{pool.name} is allowed, but not in the plan: {planned['why']}"
        if action == "exit":
            return f"{pool.name} is left by the plan: {planned['why']}"
        return f"{pool.name} is in the plan with {planned['share_of_aum']:.1%} of all assets: {planned['why']}"
    if final is not None and not final["is_passed"]:
        held = "held and frozen" if final["is_exit_only"] and not final["is_must_exit"] else "out"
        held = "held and has to be left" if final["is_must_exit"] else held
        return f"{pool.name} is {held}: {final['reasons']}"
    if final is not None:
        return f"{pool.name} is allowed; " + ("the plan does not speak of it." if runs else "no plan was made.")
    if before is None:
        return f"{pool.name} is not among the vendor's pools of this day."
    if not before["is_passed"]:
        return f"{pool.name} is out before any history is fetched: {before['reasons']}"
    return f"{pool.name} passed the pre-filter; the final filter has not judged it on this day."


def _figures(before: Row | None, final: Row | None, planned: Row | None, evidence: Evidence) -> dict[str, Any]:
    """Figures of the day by name; null where unknown."""
    forecast, metric, group = _horizon_forecast(evidence), _first(evidence.metrics), _first(evidence.groups)
    told: dict[str, Any] = {}

    def take(row: Row | None, names: Mapping[str, str]) -> None:
        for name, column in names.items():
            value = None if row is None else row.get(column)
            told[name] = None if _is_null(value) else value

    sized = final if final is not None and not _is_null(final.get("size_usd")) else before
    take(sized, {"size_usd": "size_usd"})
    take(final, {"last_apy": "last_apy", "age_days": "age_days", "is_held": "is_held"})
    take(metric, {"apy_mean_30d": "apy_mean_30d", "apy_std_30d": "apy_std_30d", "reward_share": "reward_share"})
    take(group, {"pool_group": "pool_group"})
    take(forecast, {"forecast_apy": "mean", "forecast_p10": "p10", "forecast_p90": "p90", "model": "model"})
    take(
        planned,
        {
            **{name: name for name in ("action", "value_usd", "share_of_aum", "diluted_apy", "gain_usd", "cost_usd")},
            **{name: name for name in ("marginal_apy", "dollar_apy", "break_even_days", "binding_limit")},
        },
    )
    return told


def _limits_of(pool: Known, planned: Row | None, limits: Rows) -> list[Limit]:
    """The limits of the plan that concern the pool: its own, its protocol's and chain's, and the one that binds it."""
    if planned is None:
        return []
    binding = "" if _is_null(planned["binding_limit"]) else str(planned["binding_limit"])
    subjects = {pool.pool_id, pool.protocol, pool.chain}
    found = []
    for row in limits:
        is_own = f"{row['limit_name']} {row['subject']}" == binding
        if not (is_own or row["subject"] in subjects):
            continue
        named = ("limit_usd", "used_usd", "worth_usd", "worth_by")
        values = {name: None if _is_null(row[name]) else row[name] for name in named}
        found.append(
            Limit(
                str(row["limit_name"]),
                str(row["subject"]),
                values["limit_usd"],
                values["used_usd"],
                bool(row["is_binding"]),
                str(row["relaxation"]),
                values["worth_usd"],
                values["worth_by"],
            )
        )
    return sorted(found, key=lambda limit: (not limit.is_binding, limit.name, limit.subject))


def _changes(
    pool: Known,
    before: Row | None,
    final: Row | None,
    planned: Row | None,
    *,
    limits: Sequence[Limit],
    evidence: Evidence,
) -> list[str]:
    """What would have to change for the pool to be in, or to hold more."""
    judged = final if final is not None else before
    codes = _codes(judged["reason_codes"]) if judged is not None else ()
    figures = {**(before or {}), **(final or {}), **(_horizon_forecast(evidence) or {})}
    told = [
        CHANGES[code].format(protocol=pool.protocol, pool_id=pool.pool_id) + _reach(code, evidence.parameters, figures)
        for code in codes
        if code in CHANGES
    ]
    if planned is None:
        return told
    if planned["action"] == "left_out":
        told += _left_out_changes(planned, evidence.parameters)
    told += [
        f"{limit.name} of {'the pool' if limit.subject == pool.pool_id else limit.subject} binds: {limit.relaxation} "
        f"would be worth {_worth(limit)}"
        for limit in limits
        if limit.is_binding
    ]
    return told


def _reach(code: str, parameters: Parameters | None, figures: Row) -> str:
    """The figure that has to be reached and the one of today, in brackets; nothing where the policy has none."""
    if parameters is None or code not in REACH:
        return ""
    words = REACH[code].format(**asdict(parameters))
    name, form, unit = NOW.get(code, ("", "", ""))
    now = figures.get(name)
    return f" ({words})" if now is None or _is_null(now) else f" ({words}; now {format(float(now), form)}{unit})"


def _left_out_changes(planned: Row, parameters: Parameters | None) -> list[str]:
    rate, dollar, days = planned["marginal_apy"], planned["dollar_apy"], planned["break_even_days"]
    found = []
    if not _is_null(rate) and not _is_null(dollar):
        if float(rate) < float(dollar):
            found.append(
                f"its next dollar earns {rate:.2%} a year, one in the plan {dollar:.2%}: its APY has to rise by "
                f"{(float(dollar) - float(rate)) * 100:.2f} points, or what the plan holds has to fall as much"
            )
        else:
            found.append(
                f"its next dollar would earn {rate:.2%} a year, more than the {dollar:.2%} of the plan's: "
                f"what keeps it out are costs and limits"
            )
    if not _is_null(days):
        most = "break_even_days says how many may be" if parameters is None else f"at most {parameters.break_even_days}"
        most += "" if parameters is None else " may pass (break_even_days)"
        found.append(f"entering it would be earned back in {float(days):.1f} days; {most}")
    least = SMALLEST.search(str(planned["why"]))
    if least is not None:
        found.append(f"{least[2]} USD have to be free for it: that is the smallest {least[1]}")
    return found or ["nothing of its own: the plan's verdict above names no figure that it misses"]


def _worth(limit: Limit) -> str:
    if limit.worth_usd is None:
        return "an unknown amount"
    told = f"{limit.worth_usd:,.2f} USD over the horizon"
    return f"about {told} by its shadow price" if limit.worth_by == "shadow_price" else told


def _history(evidence: Evidence) -> list[PastVerdict]:
    """One line for every day that any table knows, the newest first."""
    before = {row["date"]: row for row in evidence.prefiltered}
    final = {row["date"]: row for row in evidence.eligible}
    planned = _planned(evidence.allocations)
    found = []
    for day in sorted({*before, *final, *planned}, reverse=True):
        judged = final.get(day) or before.get(day)
        action = planned.get(day)
        share = None if action is None or _is_null(action["share_of_aum"]) else float(action["share_of_aum"])
        found.append(
            PastVerdict(
                day,
                bool(before[day]["is_passed"]) if day in before else None,
                bool(final[day]["is_passed"]) if day in final else None,
                None if action is None else str(action["action"]),
                share,
                _codes(judged["reason_codes"]) if judged else (),
            )
        )
    return found


def codes_without_change() -> set[str]:
    """Reason codes that nobody has said a remedy for; empty, as a test proves."""
    return ({*PREFILTER, *FINAL}) - set(CHANGES)
