"""Shadow prices against solving again: sign, unit and size, with the plan's decisions fixed."""

from dataclasses import replace

import pytest

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.model import build_model, hold_reference
from defiyield_assets.domain.allocation.prices import Prices, prices_of
from defiyield_assets.domain.allocation.solve import Flows, fixed_flows, solve_highs
from defiyield_assets.domain.allocation.steps import build_steps
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, random_market, units, with_parameters
from defiyield_assets_tests.domain.allocation.test_plan import market

Solved = tuple[dict[str, float], Flows, Prices]


def solve(problem: AllocationProblem, values: dict[str, float] | None = None) -> Solved | None:
    """Decisions (or those of `values`), flows and prices of a problem; None where it has none."""
    model = build_model(problem)
    found = solve_highs(model).values if values is None else values
    if not found or {switch.name for switch in model.binaries} - set(found):
        return None
    flows = fixed_flows(model, found)
    if flows is None:
        return None
    return found, flows, prices_of(build_steps(problem, model.limits, flows), model.limits, flows.prices)


def solved(case: Market) -> tuple[AllocationProblem, Solved]:
    problem = case.problem()
    found = solve(problem)
    assert found is not None
    return problem, found


def wider(problem: AllocationProblem, parameter: str, subject: str, usd: float) -> AllocationProblem:
    return replace(problem, allowances=((parameter, subject, usd),))


POOLS = [
    Pool("a", apy=0.05),
    Pool("b", apy=0.08),
    Pool("c", apy=0.07, protocol="x"),
    Pool("d", apy=0.06, protocol="x"),
    Pool("e", apy=0.04),
]


def test_prices_are_dollars_of_gain_per_dollar_of_room() -> None:
    """Caps take all cash but the cents that rounding needs: a dollar is still worth what its pool pays."""
    _, (_, _, prices) = solved(market(POOLS, max_pool_share=0.3, max_protocol_share=0.4))
    horizon = {apy: (1 + apy) ** (30 / 365) - 1 for apy in (0.05, 0.06, 0.07, 0.08)}
    usdc = next(iter(prices.tokens.values()))
    assert usdc == pytest.approx(horizon[0.05], rel=0.02)
    assert prices.pools["a"] == pytest.approx(0.0, abs=1e-9)
    assert prices.pools["b"] == pytest.approx(horizon[0.08] - usdc, rel=0.02)
    assert prices.pools["c"] == pytest.approx(horizon[0.07] - horizon[0.06], rel=0.02)
    x = [shared.subject for shared in prices.limits.shared].index("x")
    assert prices.shared[x] == pytest.approx(horizon[0.06] - usdc, rel=0.04)


def test_room_in_a_pool_that_is_not_entered_is_worth_nothing_at_these_decisions() -> None:
    """Its first dollar would earn 8 %, but the switch is off: more room alone changes nothing."""
    problem = market([Pool("a", apy=0.05), Pool("b", apy=0.08)], max_pool_share=0.4).problem()
    model = build_model(problem)
    decided = {**solve_highs(model).values, "d1_on": 0.0}
    found = solve(problem, decided)
    assert found is not None
    assert found[1].deposits.keys() == {"a"}
    assert found[2].pools["b"] == 0.0


def test_cash_that_stays_idle_is_worth_nothing_and_a_dollar_of_another_token_costs_its_conversion() -> None:
    _, (_, _, prices) = solved(market([Pool("a", apy=0.05), Pool("f", ("dai",), apy=0.001)], max_pool_share=0.5))
    usdc, dai = (prices.tokens[coin.address] for coin in (Coin("usdc"), Coin("dai")))
    assert usdc == pytest.approx(0.0, abs=1e-9)
    assert dai == pytest.approx(0.0004 / 0.9996)


@pytest.mark.parametrize(
    ("changes", "parameter", "subject"),
    [
        ({"max_pool_share": 0.3}, "max_pool_share", "b"),
        ({"max_pool_tvl_share": 0.001}, "max_pool_tvl_share", "b"),
        ({"max_protocol_share": 0.4}, "max_protocol_share", "x"),
        ({"max_token_share": 0.6}, "max_token_share", "usdc"),
        ({"max_chain_share": 0.7}, "max_chain_share", "Ethereum"),
        ({"group_caps": True}, "max_group_share", "1"),
        ({"idle_buffer_share": 0.2}, "idle_buffer_share", "plan"),
    ],
)
def test_a_price_is_what_a_little_more_room_brings(changes: dict[str, float], parameter: str, subject: str) -> None:
    """Concave: the price before is at least, the price after at most what each dollar between them brought.

    Two percent for the secants, whose slope is the mean over a stretch and not that at its end.
    """
    problem, (values, flows, prices) = solved(market(POOLS, **changes))
    room = 100.0
    again = solve(wider(problem, parameter, subject, room), values)
    assert again is not None
    before, after = (price_of(found, parameter, subject) for found in (prices, again[2]))
    gained = again[1].objective - flows.objective
    assert before > 1e-5
    assert 0.98 * after * room - 0.001 <= gained <= before * room + 0.001


def price_of(prices: Prices, parameter: str, subject: str) -> float:
    if parameter == "idle_buffer_share":
        return prices.idle_buffer
    if subject in prices.pools:
        return prices.pools[subject]
    named = [(shared.parameter, shared.subject) for shared in prices.limits.shared]
    return prices.shared[named.index((parameter, subject))]


def test_the_price_of_a_token_is_what_more_of_it_in_the_wallet_brings() -> None:
    case = market(POOLS)
    _, (values, flows, prices) = solved(case)
    case.coin("usdc").balance += units(100)
    again = solve(case.problem(), values)
    assert again is not None
    gained = again[1].objective - flows.objective
    usdc = Coin("usdc").address
    assert prices.tokens[usdc] > 0.005
    assert 0.98 * again[2].tokens[usdc] * 100 - 0.001 <= gained <= prices.tokens[usdc] * 100 + 0.001


@pytest.mark.parametrize("seed", range(15))
def test_prices_bracket_what_room_brings_on_random_instances(seed: int) -> None:
    """Every shared cap and every pool's own limit, with the plan's decisions fixed.

    A pool's own limit lies at the end of its longest secant, whose slope is well above that of the gain there.
    """
    case = with_parameters(random_market(seed, aum=1e6), idle_buffer_share=0.0, cap_headroom=0.0)
    problem = case.problem()
    if hold_reference(problem, build_model(problem).limits) is None:
        return  # limits that force something keep the rests that are stuck: more room moves them, not the plan
    found = solve(problem)
    assert found is not None
    values, flows, prices = found
    limits, room = prices.limits, problem.aum_usd and float(problem.aum_usd) * 1e-4
    named = [(limit.parameter, limit.subject, price) for limit, price in zip(limits.shared, prices.shared, strict=True)]
    named += [(limits.pools[key].parameter, key, price) for key, price in prices.pools.items()]
    cents = 20.0 * limits.margin * 0.3
    for parameter, subject, price in named:
        again = solve(wider(problem, parameter, subject, room), values)
        if again is None or not parameter:
            continue
        gained = again[1].objective - flows.objective
        after = price_of(again[2], parameter, subject)
        assert gained <= price * room + cents, (parameter, subject)
        # of a wider cap the plan uses so much
        kept = (0.7 if subject in prices.pools else 1.0) * (1.0 - problem.parameters.cap_headroom)
        assert gained >= kept * min(price, after) * room - cents, (parameter, subject)


def test_an_entry_that_does_not_pay_at_the_prices_only_loses() -> None:
    """A pool that is left out is forced in: the plan loses at least what its entry says."""
    case = market(POOLS, max_pool_share=0.3, max_protocol_share=0.4)
    problem, (_, flows, prices) = solved(case)
    pool = next(pool for pool in problem.pools if pool.pool_id == "e")
    entry = prices.entry(pool)
    assert entry is not None
    assert entry.profit_usd < 0
    model = build_model(problem)
    model.pools["e"].deposit_on.lowBound = 1
    run = solve_highs(model)
    assert run.objective is not None
    assert run.objective <= flows.objective + entry.profit_usd + 0.02


@pytest.mark.parametrize("seed", range(12))
def test_no_entry_brings_more_than_its_profit_at_the_prices(seed: int) -> None:
    """Each pool that is left out is forced in, all other pools kept in or out as they are, conversions free."""
    problem = with_parameters(random_market(seed, aum=1e6), min_pools=1).problem()
    found = solve(problem)
    assert found is not None
    values, flows, prices = found
    for pool in problem.pools:
        entry = None if pool.pool_id in flows.deposits or pool.is_held else prices.entry(pool)
        if entry is None:
            continue
        model = build_model(problem)
        for key, variables in model.pools.items():
            for switch in variables.switches:
                is_on = values[switch.name] > 0.5 if key != pool.pool_id else switch is variables.deposit_on
                switch.lowBound = switch.upBound = float(is_on)
        run = solve_highs(model)
        if run.objective is not None:
            between_sizes = 0.05 * abs(entry.gain_usd) + 1.0
            assert run.objective <= flows.objective + entry.profit_usd + between_sizes, pool.pool_id
