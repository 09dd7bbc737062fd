"""The message that the treasury channel gets, as Slack blocks within Slack's limits.

Lives here: choice, order and splitting of what Slack shows of a day. Not here: sending it (sources/slack.py), limits
and escaping (slack_blocks.py), what the verdict is (content.py), alerts (alerts.py).
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.outcomes import STAYING, group_by_roots
from defiyield_assets.domain.reporting.content import PUBLISHED, build_content, plan_of_day
from defiyield_assets.domain.reporting.formats import (
    clean,
    is_missing,
    number,
    percent,
    token_amount,
    usd,
)
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs, collect_names
from defiyield_assets.domain.reporting.layout import Content, Fact, Section
from defiyield_assets.domain.reporting.slack_blocks import (
    MAX_BLOCKS,
    MAX_FIELD_CHARACTERS,
    MAX_FIELDS,
    MAX_HEADER_CHARACTERS,
    TEXT_CHARACTERS,
    Block,
    SlackMessage,
    cut,
    fitted,
    markdown,
    safe,
    sections,
    words,
)

ROWS = 8
"""Holdings and steps listed in the message itself; all of them follow in the next."""
MAX_PARTS = 8
"""Messages of one day, at most: what is beyond them is counted and stands in the report."""
IDLE = "IDLE"
DUST = 0.01
"""Changes of fewer tokens are rounding, and no line worth reading."""
TONES = {
    "good": ":large_green_circle:",
    "calm": ":white_circle:",
    "warn": ":large_yellow_circle:",
    "bad": ":red_circle:",
}
CHANGE_COLUMNS = ("pool_id", "token_address", "amount_before", "amount")
STEP_COLUMNS = (
    *("seq", "leg", "step_type", "wallet", "pool_id", "token_in", "amount_in", "token_out", "amount_out"),
    "is_full_exit",
)
"""What makes a plan another plan for the one who sends it."""
VERBS = {
    "enter": "enter",
    "increase": "add to",
    "decrease": "reduce",
    "exit": "leave",
    "idle": "cash",
}


def build_slack_message(inputs: ReportInputs) -> SlackMessage:
    """The day in one message: verdict, figures, what changes, steps, cost, confidence, health.

    No string of a vendor can mention, link, format or show a signal. A day with more than `ROWS` changes or steps goes
    on in further messages that list all of them.
    """
    names, run = collect_names(inputs), plan_of_day(inputs)
    content = build_content(inputs, names)
    is_published = content.status in PUBLISHED
    title = cut(content.title, MAX_HEADER_CHARACTERS)
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        words([f"{TONES[content.tone]} {safe(content.paragraphs[0])}", *map(safe, content.paragraphs[1:])]),
    ]
    if content.status == "hold" and run is not None:
        stays = f"Keeping what is held is expected to earn {usd(run['hold_gain_usd'])} in {run['horizon_days']} days"
        blocks.append(
            words([f"*Do nothing.* {safe(stays)} ({percent(run['hold_apy'])} APY). There is nothing to send."])
        )
    if content.facts:
        blocks.append({"type": "section", "fields": [_field(fact) for fact in content.facts[:MAX_FIELDS]]})
    changes, steps = ([], []) if not is_published else (_changes(inputs, names), _steps(inputs, names))
    blocks += _listing("Against what is held", changes)
    blocks += _listing("Steps", steps)
    if steps and run is not None:
        blocks.append(words([_cost_line(run)]))
    blocks.append(words(["*Confidence*", *_confidence(inputs, run, is_published=is_published)]))
    blocks.append(words(["*Health*", *_health(inputs)]))
    left_out, earned = content.section("left-out"), content.section("earned")
    remarks = [*(left_out.paragraphs if left_out else ()), *_earned_words(earned)]
    if remarks:
        blocks.append(words([safe(remark) for remark in remarks]))
    if run is not None:
        source = [
            "Amounts are cut to two decimals; the report has every digit.",
            f"Run {safe(clean(run['run_id'], 120))}, policy {safe(clean(run['policy_hash'], 12))}, "
            f"inputs {safe(clean(run['input_hash'], 12))}",
        ]
        blocks.append({"type": "context", "elements": [markdown(line) for line in source]})
    text = fitted(safe(f"{content.title}. {content.paragraphs[0]}"), TEXT_CHARACTERS)
    advice = _advice(inputs, content, run, is_published=is_published)
    return SlackMessage(text, tuple(blocks[: MAX_BLOCKS - 1]), _continued(content, changes, steps), advice)


def _advice(inputs: ReportInputs, content: Content, run: dict[str, Any] | None, *, is_published: bool) -> str:
    """Fingerprint of what is to be done: verdict, inputs, changes and steps to the last base unit, and no health."""
    told: list[Any] = [content.title, content.tone, content.paragraphs[0]]
    if run is not None:
        told += [clean(run["input_hash"], 80), clean(run["policy_hash"], 80)]
    if is_published:
        for frame, names, order in (
            (inputs.allocations, CHANGE_COLUMNS, ["pool_id", "token_address"]),
            (inputs.allocation_steps, STEP_COLUMNS, ["seq", "leg"]),
        ):
            rows = frame.sort_values(order).to_dict("records") if len(frame) else []
            told.append([["" if is_missing(row[name]) else str(row[name]) for name in names] for row in rows])
    return content_hash(told)


def _changes(inputs: ReportInputs, names: Names) -> list[str]:
    """What the plan changes of each holding, the largest first; holdings that stay are counted at the end."""
    held = inputs.allocations
    if held.empty:
        return []
    rows = held.loc[held["action"] != "left_out"].to_dict("records")
    changed = [row for row in rows if _value_moved(row) >= DUST]
    changed.sort(key=lambda row: (row["pool_id"] == IDLE, -_value_moved(row), str(row["pool_id"])))
    lines = [_change_line(row, names) for row in changed]
    n_kept = sum(1 for row in rows if int(row["amount_before"]) > 0) - sum(
        1 for row in changed if int(row["amount_before"]) > 0
    )
    return [*lines, f"{n_kept} more {'stays' if n_kept == 1 else 'stay'} as held"] if lines and n_kept else lines


def _value_moved(row: dict[Any, Any]) -> float:
    """Moved whole tokens, for the order only."""
    return abs(int(row["amount"]) - int(row["amount_before"])) / 10.0 ** int(row["decimals"])


def _change_line(row: dict[Any, Any], names: Names) -> str:
    token, decimals = names.token(row["token_address"]), int(row["decimals"])
    change = int(row["amount"]) - int(row["amount_before"])
    is_cash = row["pool_id"] == IDLE
    name = f"Cash in {token}" if is_cash else names.pool(row["pool_id"])
    verb = "" if is_cash else f"{VERBS.get(str(row['action']), clean(row['action'], 20))} "
    amount = f"{'+' if change > 0 else ''}{_short_amount(change, decimals)} {token}"
    if not int(row["amount"]):
        return safe(f"{verb}{name}: {amount}, then none")
    earns = "" if is_missing(row["diluted_apy"]) else f", {percent(row['diluted_apy'])} APY after our deposit"
    return safe(f"{verb}{name}: {amount}, then {percent(row['share_of_aum'])} of assets{earns}")


def _short_amount(base_units: int, decimals: int) -> str:
    """The amount to two decimals, cut and never rounded up; the report has every digit."""
    kept = 10 ** max(decimals - 2, 0)
    size = abs(base_units) // kept * kept
    return token_amount(-size if base_units < 0 else size, decimals)


def _steps(inputs: ReportInputs, names: Names) -> list[str]:
    """The transactions in their order; what sends nothing is left out."""
    rows = inputs.allocation_steps
    if rows.empty:
        return []
    sent = rows.loc[rows["step_type"] != "HOLD"].sort_values(["seq", "leg"])
    return [_step_line(row, names) for row in sent.to_dict("records")]


def _step_line(row: dict[Any, Any], names: Names) -> str:
    pool = "" if is_missing(row["pool_id"]) else names.pool(row["pool_id"])
    if row["step_type"] == "WITHDRAW" and bool(row["is_full_exit"]):
        pool += " (all shares)"
    gives = _flow(row["amount_in"], row["token_in"], names)
    takes = _flow(row["amount_out"], row["token_out"], names)
    kind = str(row["step_type"])
    source, target = {"WITHDRAW": (pool, takes), "DEPOSIT": (gives, pool)}.get(kind, (gives, takes))
    figures = [usd(row["value_usd"])]
    for name, column in (("gas", "gas_usd"), ("conversion", "conversion_usd")):
        if not is_missing(row[column]) and row[column]:
            figures.append(f"{name} {usd(row[column])}")
    wallet = names.wallet(row["wallet"])
    return safe(f"{row['seq']}. {clean(kind, 20)} in {wallet}: {source} → {target} ({', '.join(figures)})")


def _flow(amount: Any, address: Any, names: Names) -> str:
    if is_missing(amount) or is_missing(address):
        return ""
    decimals = names.decimals(address)
    if decimals is None:
        return f"{int(amount):,} base units of {names.token(address)}"
    return f"{_short_amount(int(amount), decimals)} {names.token(address)}"


def _cost_line(run: dict[str, Any]) -> str:
    total = usd(run["gas_usd"] + run["conversion_usd"])
    parts = f"gas {usd(run['gas_usd'])}, conversion {usd(run['conversion_usd'])}"
    back = "" if is_missing(run["break_even_days"]) else f"; earned back in {number(run['break_even_days'], 1)} days"
    return f"*Cost* {safe(f'{total}: {parts}{back}')}"


def _confidence(inputs: ReportInputs, run: dict[str, Any] | None, *, is_published: bool) -> list[str]:
    """How far the plan may be trusted: the second solver, the forecasts' bands so far, the inputs' state."""
    lines = []
    if run is None:
        lines.append("There is no plan.")
    elif is_published and not is_missing(run["verified_by"]):
        second = "" if is_missing(run["second_solver"]) else f" and {clean(run['second_solver'], 40)}"
        lines.append(f"Plan verified: {clean(run['solver'], 40)}{second} agree ({clean(run['verified_by'], 20)}).")
    elif is_published and not is_missing(run["solver"]):
        lines.append("No second solver has confirmed this plan.")
    elif not is_published:
        lines.append("No plan is published, so there is nothing to trust.")
    lines.append(_coverage(inputs.forecast_scoreboard))
    roots = _roots(inputs)
    n_degraded = len(roots)
    lines.append(
        "No input is degraded."
        if not n_degraded
        else f"{n_degraded} degraded {'input' if n_degraded == 1 else 'inputs'}, listed below."
    )
    return [f"• {safe(line)}" for line in lines]


def _coverage(board: pd.DataFrame) -> str:
    """How often what became of APYs lay inside the champions' bands, over all horizons."""
    if board.empty:
        return "No forecast could be compared with what became of it yet."
    rows = board.loc[
        (board["model"] == "champion")
        & (board["target"] == "apy")
        & board["coverage"].notna()
        & board["n_bands"].notna()
    ]
    total = int(rows["n_bands"].sum()) if len(rows) else 0
    if not total:
        return "No forecast with a band could be compared with what became of it yet."
    share = sum(float(part) * int(n) for part, n in zip(rows["coverage"], rows["n_bands"], strict=True)) / total
    return f"Forecast bands held {percent(share, 0)} of {number(total)} APYs that fell due (80% is right)."


def _roots(inputs: ReportInputs) -> dict[str, str]:
    """Assets in trouble of their own, with the reason; what is not configured is a choice."""
    outcomes = inputs.outcomes
    told = outcomes.loc[~outcomes["error_class"].isin(STAYING)] if len(outcomes) else outcomes
    own, resting = group_by_roots(dict(zip(told["asset"], told["reason"], strict=True)))
    return own or {name: reason for reason, assets in resting.items() for name in assets}


def _health(inputs: ReportInputs) -> list[str]:
    roots = _roots(inputs)
    if not roots:
        return ["All assets of the day are whole."]
    kinds = dict(zip(inputs.outcomes["asset"], inputs.outcomes["status"], strict=True))
    told = [(clean(name, 60), clean(kinds.get(name), 20), clean(roots[name], 200)) for name in sorted(roots)]
    lines = [safe(f"• {name}: {kind}, {reason}") for name, kind, reason in told]
    rest = len(lines) - ROWS
    return lines if rest <= 0 else [*lines[:ROWS], f"… and {rest} more in the report"]


def _listing(title: str, lines: Sequence[str]) -> list[Block]:
    """The first lines under a title; nothing where there are none."""
    if not lines:
        return []
    rest = len(lines) - ROWS
    shown = [f"*{title}*", *(f"• {line}" for line in lines[:ROWS])]
    return [words([*shown, f"… and {rest} more below"] if rest > 0 else shown)]


def _earned_words(earned: Section | None) -> list[str]:
    if earned is None:
        return []
    facts = {fact.name: fact for fact in earned.facts}
    if not facts:
        return list(earned.paragraphs)
    wanted = ("Net asset value", "Return of the day", "Realised yield of the day", "Income", "Expenses")
    found = [f"{name.lower()} {facts[name].value}" for name in wanted if name in facts]
    return ["Really earned: " + ", ".join(found)] if found else []


def _continued(content: Content, changes: Sequence[str], steps: Sequence[str]) -> tuple[SlackMessage, ...]:
    """All changes and steps of a day that has more than the first message lists."""
    blocks: list[Block] = []
    for title, lines in (("Against what is held, all", changes), ("Steps, all", steps)):
        if len(lines) > ROWS:
            blocks += sections([f"*{title}*", *(f"• {line}" for line in lines)])
    room = MAX_BLOCKS - 2
    chunks = [blocks[start : start + room] for start in range(0, len(blocks), room)]
    kept, n_parts = chunks[: MAX_PARTS - 1], min(len(chunks), MAX_PARTS - 1) + 1
    parts = []
    for place, chunk in enumerate(kept, 2):
        words_of_part = f"{content.day}: part {place} of {n_parts}"
        head: Block = {"type": "context", "elements": [markdown(words_of_part)]}
        tail = [words(["… the rest stands in the report"])] if place == n_parts and len(chunks) > len(kept) else []
        parts.append(SlackMessage(words_of_part, (head, *chunk, *tail)))
    return tuple(parts)


def _field(fact: Fact) -> Block:
    remark = f"\n{safe(fact.remark)}" if fact.remark else ""
    return markdown(fitted(f"*{safe(fact.name)}*\n{safe(fact.value)}{remark}", MAX_FIELD_CHARACTERS))
