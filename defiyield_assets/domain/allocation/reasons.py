"""Why each pool ends as it does: what a dollar earns there and elsewhere, which limit binds, what entering would cost.

Lives here: one `Reason` per pool, in numbers and words. Not here: prices (prices.py), tables (frames.py), what limits
are worth (worth.py). Every sentence is about what was solved: at the plan's prices a pool that does not pay can only
lose; where prices cannot tell, the sentence says no more than that no better plan exists.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption, exact_sum
from defiyield_assets.domain.allocation.gains import pool_gain
from defiyield_assets.domain.allocation.limit_rows import used_of
from defiyield_assets.domain.allocation.limits import Limits, PoolLimits, SharedLimit
from defiyield_assets.domain.allocation.prices import PRICE_TINY, Entry, Prices
from defiyield_assets.domain.allocation.steps import ExactPlan

GROWN = ("enter", "increase")


@dataclass(frozen=True)
class Reason:
    """Why a pool is in or out. Money in USD over the horizon, rates as fractions; None where it does not apply.

    `gain_usd`: what the position earns as planned, before costs. `marginal_apy`: what its next dollar earns.
    `dollar_apy`: what the money that it takes or would take earns in the plan; None where the plan has no cash to
    place. `binding_limit`: `parameter subject`; what its room is worth is the business of the table of limits.
    `cost_usd`: gas and conversion of its own steps; of a pool left out, of entering it at the size that suits best.
    `break_even_days`: until these costs are earned back by what it earns more than before.
    """

    text: str
    gain_usd: float
    marginal_apy: float | None = None
    dollar_apy: float | None = None
    binding_limit: str | None = None
    cost_usd: float | None = None
    break_even_days: float | None = None


@dataclass(frozen=True)
class Case:
    """What a pool's reason is found from."""

    plan: ExactPlan
    limits: Limits
    prices: Prices
    pool: PoolOption
    action: str
    message: str

    @property
    def bounds(self) -> PoolLimits:
        """The pool's own limits."""
        return self.limits.pools[self.pool.pool_id]

    @property
    def value(self) -> float:
        """Its value at the end, USD."""
        return float(self.plan.position_usd(self.pool))

    def gain(self, value: float) -> float:
        """What a position of `value` USD earns over the horizon."""
        return pool_gain(self.pool, value, self.bounds.held, self.limits.problem.parameters)

    @property
    def marginal(self) -> float:
        """What the next dollar earns over the horizon."""
        step = max(1.0, 1e-6 * self.value)
        return (self.gain(self.value + step) - self.gain(self.value)) / step

    @property
    def tolerance(self) -> float:
        """Distance (USD) at which a limit counts as reached: rounding and margins."""
        return 4.0 * self.limits.margin


def explain(
    plan: ExactPlan, limits: Limits, message: str, prices: Prices, actions: Mapping[str, str]
) -> dict[str, Reason]:
    """The reason of every pool, by id; `message` is the outcome of the day, which speaks for pools of a day without
    a plan."""
    cases = [
        Case(plan, limits, prices, pool, actions[pool.pool_id], message if pool.can_grow else "")
        for pool in plan.problem.pools
    ]
    found = {case.pool.pool_id: _reason(case, has_grown=any(a in GROWN for a in actions.values())) for case in cases}
    best = _next_best(cases)
    if best is None:
        return found
    pool, entry = best
    name = f"{pool.protocol} {pool.pool_id[:8]} at {_apy(prices, entry.gain_usd / entry.added_usd)}"
    return {
        key: _with_words(reason, f"; best of those left out: {name}") if actions[key] in GROWN else reason
        for key, reason in found.items()
    }


def _reason(case: Case, *, has_grown: bool) -> Reason:
    if case.action in GROWN:
        return _why_grown(case)
    if case.action == "left_out":
        return _why_left_out(case, has_grown=has_grown)
    return _why_kept(case)


def _why_grown(case: Case) -> Reason:
    """At its own limit, under a shared cap, as small as possible, or as large as pays."""
    bounds, prices, pool = case.bounds, case.prices, case.pool
    binding = _binding_cap(case)
    limit: str | None = None
    if case.value >= bounds.upper - case.tolerance and case.value < case.limits.aum - case.tolerance:
        limit = f"{bounds.parameter} {pool.pool_id}"
        text = f"at its limit: {bounds.cap_name}"
    elif binding is not None:
        limit = f"{binding.parameter} {binding.subject}"
        text = f"held back by the {binding.name}"
    elif case.value <= max(case.limits.min_position, bounds.held + case.limits.min_transaction) + case.tolerance:
        text = "at the smallest position that counts towards min_pools" + (
            f"; its next dollar earns {_apy(prices, case.marginal)}" if case.value > 0 else ""
        )
    else:
        text = f"takes what the better pools leave: its next dollar earns {_apy(prices, case.marginal)}"
    own = exact_sum(_own_costs(case.plan, pool))
    gain = case.gain(case.value) - case.gain(bounds.held)
    return _figures(case, text + _curve_words(pool), limit, float(own), gain)


def _why_left_out(case: Case, *, has_grown: bool) -> Reason:
    """What bars it, what it lacks, or what the money earns instead."""
    pool, bounds, prices = case.pool, case.bounds, case.prices
    if pool.blocked:
        return Reason(pool.blocked, 0.0)
    if not bounds.can_deposit:
        room = max(0.0, bounds.deposit_max)
        limit = f"{bounds.parameter} {pool.pool_id}" if bounds.parameter else None
        least = f"the smallest position is {bounds.deposit_min:,.2f} USD"
        return Reason(f"too small: room for {room:,.2f} USD ({bounds.cap_name}), {least}", 0.0, binding_limit=limit)
    if not has_grown:
        return _why_not_alone(case)
    entry = prices.entry(pool)
    if entry is None or not prices.are_known:
        return Reason("no plan that enters it earns more", 0.0)
    return _why_not_entered(case, entry)


def _why_not_entered(case: Case, entry: Entry) -> Reason:
    """A pool with room on a day on which others were entered: judged at the plan's prices."""
    prices = case.prices
    rate, dollar = _apy(prices, entry.gain_usd / entry.added_usd), _apy(prices, entry.lost_usd / entry.added_usd)
    binding = _binding_cap(case)
    limit = None
    if entry.gain_usd <= entry.lost_usd:
        text = f"lower gain: {rate} against the {dollar} that a dollar earns in the plan"
    elif entry.gain_usd <= entry.lost_usd + entry.caps_usd and binding is not None:
        limit = f"{binding.parameter} {binding.subject}"
        text = f"the {binding.name} is used up; {rate} here do not beat what its room earns now"
    elif entry.profit_usd <= 0:
        more = entry.gain_usd - entry.lost_usd - entry.caps_usd
        room = " and the room that it takes under shared caps" if entry.caps_usd > 0 else ""
        text = (
            f"its {rate} bring {max(0.0, more):,.2f} USD more over {_days(case)} days than the {dollar} of the plan"
            f"{room}: that does not pay for {entry.gas_usd:,.2f} USD of gas"
        )
    else:
        text, limit = _why_not_as_well(case, entry)
        text = f"its {rate} would pay at the margin of {dollar}, but {text}"
    return _figures(case, text, limit, entry.cost_usd, entry.gain_usd, dollar=entry.lost_usd / entry.added_usd)


def _why_not_as_well(case: Case, entry: Entry) -> tuple[str, str | None]:
    """What prices do not tell: room, cash or ETH too small for a whole entry; words and the limit that they name."""
    plan, limits, pool = case.plan, case.limits, case.pool
    least = f"the smallest position is {case.bounds.deposit_min:,.2f} USD"
    rooms = [
        ((shared.limit - float(used_of(plan, shared))) / shared.new[pool.pool_id], shared)
        for shared in limits.shared
        if shared.new.get(pool.pool_id, 0.0) > 0 and not shared.is_all
    ]
    room, tightest = min(rooms, key=lambda item: (item[0], item[1].name), default=(float("inf"), None))
    if tightest is not None and room < case.bounds.deposit_min:
        words = f"the {tightest.name} leaves room for {max(0.0, room):,.2f} USD, {least}"
        return words, f"{tightest.parameter} {tightest.subject}"
    left = plan.problem.eth_balance_wei - plan.gas_units * plan.problem.gas_price_p90_wei
    if entry.gas_units * plan.problem.gas_price_p90_wei > left:
        return "the wallet's ETH does not pay for its gas as well", "eth_balance plan"
    idle = float(exact_sum(token.value(plan.wallet[token.address]) for token in plan.problem.tokens))
    if idle < case.bounds.deposit_min:
        return f"only {idle:,.2f} USD stay idle, {least}", None
    return "no plan that enters it as well earns more", None


def _why_not_alone(case: Case) -> Reason:
    """A pool with room on a day on which nothing is entered: judged by entering it alone with the idle cash."""
    problem, limits, parameters = case.plan.problem, case.limits, case.limits.problem.parameters
    rate = parameters.conversion_rate
    message = "" if case.plan.transactions else case.message
    cash = {token.address: float(token.value(case.plan.at_hand(token.address))) for token in problem.tokens}
    own = sum(cash[token] for token in case.pool.tokens)
    most = max(0.0, own + (sum(cash.values()) - own) * (1.0 - rate) - limits.idle_buffer)
    if most < case.bounds.deposit_min:
        least = f"the smallest deposit is {case.bounds.deposit_min:,.2f} USD"
        whole = f"{sum(cash.values()):,.2f}"
        usable = f"{most:,.2f}"
        room = "" if usable == whole else f", {usable} USD of it after conversions and the idle buffer"
        return Reason(f"{message} The cash is {whole} USD{room}; {least}".strip(), 0.0)
    entry = case.prices.entry_up_to(case.pool, most)
    if entry is None or not message:
        return Reason(message or "no plan that enters it earns more", 0.0)
    days = _break_even(entry.cost_usd, entry.gain_usd, parameters.horizon_days)
    if days is None or days > parameters.break_even_days:
        earned = "never" if days is None else f"in {days:,.1f} days, {parameters.break_even_days} are allowed"
        text = (
            f"entering it would earn {entry.gain_usd:,.2f} USD over {parameters.horizon_days} days and cost "
            f"{entry.cost_usd:,.2f} USD: earned back {earned}"
        )
        return _figures(case, text, "break_even_days plan", entry.cost_usd, entry.gain_usd)
    return _figures(case, message, None, entry.cost_usd, entry.gain_usd)


def _why_kept(case: Case) -> Reason:
    """Positions that stay, shrink or leave."""
    pool, bounds, prices = case.pool, case.bounds, case.prices
    limit: str | None = None
    if pool.is_must_exit:
        stuck = f"; {bounds.stuck:,.2f} USD are stuck until liquidity returns" if bounds.stuck > 0 else ""
        why = f": {pool.exit_reason}" if pool.exit_reason else ""
        text = f"must be left{why}{stuck}"
    elif pool.is_frozen:
        text = "kept: no APY is known, and a missing number never forces a sale"
    elif bounds.held > bounds.upper and case.action != "hold":
        text, limit = f"reduced to its limit: {bounds.cap_name}", f"{bounds.parameter} {pool.pool_id}"
    elif case.action == "hold":
        text = _why_held(case)
    else:
        text = _why_reduced(case)
    own = float(exact_sum(_own_costs(case.plan, pool)))
    return _figures(case, text, limit, own if case.action != "hold" else None, None, dollar=prices.dollar(pool))


def _why_held(case: Case) -> str:
    """A position that nothing happens to: why it is not left, and why it does not grow."""
    pool, bounds, prices = case.pool, case.bounds, case.prices
    here = case.gain(bounds.held) / bounds.held if bounds.held > 0 else 0.0
    if bounds.exit <= 0:
        text = "kept: nothing can be withdrawn today"
    elif _has_price(case) and here >= prices.dollar(pool) > PRICE_TINY:
        text = f"kept: {_apy(prices, here)} here against the {_apy(prices, prices.dollar(pool))} of a dollar elsewhere"
    else:
        text = "kept: moving it would not earn back its costs"
    if pool.blocked:
        return f"{text}; {pool.blocked}"
    return text


def _why_reduced(case: Case) -> str:
    """A position that the limits would let stay, but that the plan takes from."""
    prices, left = case.prices, max(1.0, case.bounds.held - case.value)
    here = (case.gain(case.bounds.held) - case.gain(case.value)) / left
    dollar = prices.dollar(case.pool)
    if _has_price(case) and dollar > here:
        return f"makes room: the money earns {_apy(prices, dollar)} elsewhere against {_apy(prices, here)} here"
    return "makes room for better pools or for a shared cap"


def _figures(
    case: Case, text: str, limit: str | None, cost: float | None, extra: float | None, *, dollar: float | None = None
) -> Reason:
    prices = case.prices
    known = prices.are_known
    dollar = prices.dollar(case.pool) if dollar is None and case.pool.tokens else dollar
    return Reason(
        text,
        gain_usd=case.gain(case.value),
        marginal_apy=prices.yearly(case.marginal),
        dollar_apy=prices.yearly(dollar) if known and prices.present and dollar is not None else None,
        binding_limit=limit,
        cost_usd=cost,
        break_even_days=None if cost is None or extra is None else _break_even(cost, extra, _days(case)),
    )


def _break_even(cost: float, gain: float, horizon: int) -> float | None:
    """Days until `cost` is earned by `gain` over the horizon; None when never."""
    return cost * horizon / gain if gain > 0 else None


def _own_costs(plan: ExactPlan, pool: PoolOption) -> Iterable[Decimal]:
    """Gas of the pool's own steps, and its part of the conversions into the tokens that it takes."""
    into: dict[str, Decimal] = {}
    taken: dict[str, Decimal] = {}
    for step in plan.transactions:
        for leg in step.legs:
            if step.step_type == "CONVERT" and leg.token_out:
                into[leg.token_out] = into.get(leg.token_out, Decimal(0)) + leg.conversion_usd + step.gas_usd
            if step.step_type == "DEPOSIT" and leg.token_in:
                taken[leg.token_in] = taken.get(leg.token_in, Decimal(0)) + leg.value_usd
    for step in plan.transactions:
        if step.pool_id != pool.pool_id:
            continue
        yield step.gas_usd
        if step.step_type == "DEPOSIT":
            for leg in step.legs:
                if leg.token_in in into and taken[leg.token_in] > 0:
                    yield (into[leg.token_in] * leg.value_usd / taken[leg.token_in]).quantize(Decimal("1e-6"))


def _binding_cap(case: Case) -> SharedLimit | None:
    """The shared cap over the pool whose room is worth most; None where none has a price."""
    if not case.prices.are_known:
        return None
    over = [(shared, price) for shared, price in case.prices.dear if shared.new.get(case.pool.pool_id, 0.0) > 0]
    return max(over, key=lambda item: item[1], default=(None, 0.0))[0]


def _has_price(case: Case) -> bool:
    """The plan has a use for what leaves the pool: its prices tell what that would earn."""
    return case.prices.are_known and not case.pool.is_queued and set(case.pool.tokens) <= case.prices.present


def _curve_words(pool: PoolOption) -> str:
    """That the pool's APY falls by a fitted curve, and where that has its kink; empty where it falls pro rata."""
    return "" if pool.curve is None else f"; diluted by its curve of utilisation, kink at {pool.curve.kink:.1%}"


def _next_best(cases: list[Case]) -> tuple[PoolOption, Entry] | None:
    """Of the pools with room that the plan leaves out, the one that falls short least at the plan's prices."""
    spare = [(case.pool, case.prices.entry(case.pool)) for case in cases if case.action == "left_out"]
    known = [(pool, entry) for pool, entry in spare if entry is not None]
    return max(known, key=lambda item: (item[1].profit_usd, item[0].pool_id), default=None)


def _with_words(reason: Reason, words: str) -> Reason:
    return Reason(**(vars(reason) | {"text": reason.text + words}))


def _apy(prices: Prices, horizon: float) -> str:
    return f"{prices.yearly(horizon):.2%}"


def _days(case: Case) -> int:
    problem: AllocationProblem = case.limits.problem
    return problem.parameters.horizon_days
