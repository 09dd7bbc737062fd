"""plan_replay: the plan's steps executed in integers by code that knows nothing of the optimiser.

Lives here: replaying `allocation_steps` on the day's balances and comparing the end with `allocations` and
`allocation_runs`. Not here: the optimiser (model.py, solve.py, steps.py, plan.py), which an import contract keeps out.
Allowed error: 0 base units.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.replay_facts import Facts, exact, is_null, read_facts
from defiyield_assets.domain.allocation.replay_limits import LimitCheck
from defiyield_assets.domain.policy import Policy, Wallet

SHOWN = 1e-9
"""Rounding of shares that are shown as floats."""
PLANS = ("optimal", "screened")
"""Statuses of runs that carry transactions; of these only the first may be sent."""


@dataclass(frozen=True)
class ReplayResult:
    """The end of a replay. No errors: the plan may be published. Amounts in base units, money in exact USD."""

    errors: list[str]
    final_wallet: dict[str, int]
    final_positions: dict[str, dict[str, int]]
    aum_before: Fraction
    aum_after: Fraction
    gas: Fraction
    conversion: Fraction

    @property
    def is_passed(self) -> bool:
        """Nothing is wrong."""
        return not self.errors


def replay_plan(
    *,
    day: date,
    runs: pd.DataFrame,
    allocations: pd.DataFrame,
    steps: pd.DataFrame,
    eligible: pd.DataFrame,
    balances: pd.DataFrame,
    positions: pd.DataFrame,
    bars: pd.DataFrame,
    gas_forecasts: pd.DataFrame,
    gas_daily: pd.DataFrame,
    policy: Policy,
    barred: AbstractSet[str],
    wallet: Wallet,
) -> ReplayResult:
    """Replay one plan on the tables that it was made from and list everything that is wrong with it.

    `runs` holds the one row of the plan; all frames have the columns of their tables.
    """
    facts = read_facts(
        day=day,
        eligible=eligible,
        balances=balances,
        positions=positions,
        bars=bars,
        gas_forecasts=gas_forecasts,
        gas_daily=gas_daily,
        policy=policy,
        barred=barred,
        wallet=wallet,
    )
    replay = _Replay(facts)
    if len(runs) != 1:
        replay.errors.append(f"a plan has one row in allocation_runs, not {len(runs)}")
    elif not facts.problems:
        replay.execute(steps)
        if replay.is_known():
            replay.compare(runs.to_dict("records")[0], allocations)
    after = replay.total()
    return ReplayResult(
        [*facts.problems, *replay.errors],
        replay.wallet,
        replay.positions,
        facts.aum,
        after,
        replay.gas,
        replay.conversion,
    )


class _Replay:
    """The wallet and the positions while the steps are executed."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.wallet = dict(facts.balances)
        self.positions = {pool: dict(held) for pool, held in facts.positions.items()}
        self.touched: dict[str, set[str]] = {}
        self.leaving: dict[str, int] = {}
        self.moved = {"WITHDRAW": Fraction(0), "DEPOSIT": Fraction(0)}
        self.sold: dict[str, Fraction] = {}
        self.bought: dict[str, Fraction] = {}
        self.gas_units = 0
        self.gas = Fraction(0)
        self.conversion = Fraction(0)
        self.transactions = 0
        self.run_ids: set[str] = set()
        self.errors: list[str] = []

    def execute(self, steps: pd.DataFrame) -> None:
        """Execute all steps in order of seq and leg."""
        rows: list[dict[Any, Any]] = [
            {name: None if is_null(value) else value for name, value in row.items()} for row in steps.to_dict("records")
        ]
        by_seq: dict[int, list[dict[Any, Any]]] = {}
        for row in sorted(rows, key=lambda row: (row["seq"], row["leg"])):
            by_seq.setdefault(int(row["seq"]), []).append(row)
        if list(by_seq) != list(range(1, len(by_seq) + 1)):
            self.errors.append("seq does not count from 1 without gaps")
        for seq, legs in by_seq.items():
            try:
                self._step(seq, legs)
            except (KeyError, TypeError) as error:
                self.errors.append(f"step {seq} cannot be read: {error!r}")

    def _step(self, seq: int, legs: list[dict[Any, Any]]) -> None:
        first = legs[0]
        kind, pool_id = first["step_type"], first["pool_id"]
        self.run_ids |= {leg["run_id"] for leg in legs}
        if [leg["leg"] for leg in legs] != list(range(len(legs))):
            self._fail(seq, "legs do not count from 0 without gaps")
        if any(leg["step_type"] != kind or leg["pool_id"] != pool_id for leg in legs):
            self._fail(seq, "legs of different steps")
        if any(leg["wallet"].lower() != self.facts.wallet or leg["date"] != self.facts.day for leg in legs):
            self._fail(seq, "another wallet or day")
        if (kind == "CONVERT") != (pool_id is None) or (pool_id is not None and pool_id not in self.facts.pools):
            self._fail(seq, f"{kind} with pool {pool_id}")
            return
        action = {"HOLD": self._hold, "WITHDRAW": self._withdraw, "CONVERT": self._convert, "DEPOSIT": self._deposit}
        if kind not in action:
            self._fail(seq, f"unknown step {kind}")
            return
        if pool_id is not None:
            before = self.touched.setdefault(pool_id, set())
            if before:
                self._fail(seq, f"pool {pool_id} is touched twice")
            before.add(kind)
        action[kind](seq, legs)
        self._costs(seq, kind, legs)

    def _fail(self, seq: int, what: str) -> None:
        self.errors.append(f"step {seq}: {what}")

    def _amount(self, seq: int, leg: dict[Any, Any], side: str) -> tuple[str, int]:
        """Token and amount of one side of a leg; the other side of one-sided legs must be empty."""
        token, amount = leg[f"token_{side}"], leg[f"amount_{side}"]
        if isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
            self._fail(seq, f"amount_{side} is {amount!r}, not a positive integer")
            amount = 0
        other = "out" if side == "in" else "in"
        if leg["step_type"] != "CONVERT" and (leg[f"token_{other}"] is not None or leg[f"amount_{other}"] is not None):
            self._fail(seq, f"{leg['step_type']} has a token_{other}")
        return token, amount

    def _spend(self, seq: int, token: str, amount: int) -> None:
        held = self.wallet.get(token, 0)
        there = held - self.leaving.get(token, 0)
        if amount > there:
            self._fail(seq, f"spends {amount} of {token}, but {there} are there")
        self.wallet[token] = held - amount

    def _hold(self, seq: int, legs: list[dict[Any, Any]]) -> None:
        held = dict(self._amount(seq, leg, "in") for leg in legs)
        if held != {token: amount for token, amount in self.positions.get(legs[0]["pool_id"], {}).items() if amount}:
            self._fail(seq, "HOLD does not state the position")

    def _withdraw(self, seq: int, legs: list[dict[Any, Any]]) -> None:
        pool_id = legs[0]["pool_id"]
        position = self.positions.setdefault(pool_id, {})
        before = dict(position)
        taken = dict(self._amount(seq, leg, "out") for leg in legs)
        if len(taken) != len(legs):
            self._fail(seq, "a token appears twice")
        for token, amount in taken.items():
            if amount > position.get(token, 0):
                self._fail(seq, f"withdraws {amount} of {token}, but {position.get(token, 0)} are in the pool")
            position[token] = position.get(token, 0) - amount
            self.wallet[token] = self.wallet.get(token, 0) + amount
            if self.facts.pools[pool_id].exit_days > 0:
                self.leaving[token] = self.leaving.get(token, 0) + amount
        if any(bool(leg["is_full_exit"]) == any(position.values()) for leg in legs):
            self._fail(seq, "is_full_exit does not say whether something stays")
        for token, amount in before.items():
            for other, more in before.items():
                difference = taken.get(token, 0) * more - taken.get(other, 0) * amount
                if abs(difference) >= max(amount, more, 1) and difference:
                    self._fail(seq, "the tokens of a withdrawal are not in proportion to the position")
                    return

    def _convert(self, seq: int, legs: list[dict[Any, Any]]) -> None:
        if len(legs) != 1:
            self._fail(seq, "a conversion has one leg")
        facts, leg = self.facts, legs[0]
        (sold, amount_in), (bought, amount_out) = self._amount(seq, leg, "in"), self._amount(seq, leg, "out")
        if sold == bought or not facts.may_buy(bought):
            self._fail(seq, f"{bought} may not be bought")
        if sold in self.bought or bought in self.sold:
            self._fail(seq, "a token is bought and sold in one plan")
        self._spend(seq, sold, amount_in)
        self.wallet[bought] = self.wallet.get(bought, 0) + amount_out
        given = facts.value(sold, amount_in)
        kept = given * (1 - exact(facts.parameters.conversion_rate))
        kept -= facts.slippage(sold, self.sold.get(sold, Fraction(0)), given)
        arrived = kept - facts.slippage(bought, self.bought.get(bought, Fraction(0)), kept)
        self.sold[sold] = self.sold.get(sold, Fraction(0)) + given
        self.bought[bought] = self.bought.get(bought, Fraction(0)) + kept
        if amount_out != int(arrived / facts.value(bought, 1)):
            self._fail(seq, f"{amount_out} is not what {amount_in} of {sold} give after the conversion cost")
        if exact(leg["conversion_usd"]) != facts.value(sold, amount_in) - facts.value(bought, amount_out):
            self._fail(seq, "conversion_usd is not the value lost")

    def _deposit(self, seq: int, legs: list[dict[Any, Any]]) -> None:
        facts, pool = self.facts, self.facts.pools[legs[0]["pool_id"]]
        given = [self._amount(seq, leg, "in") for leg in legs]
        if sorted(token for token, _ in given) != sorted(pool.tokens):
            self._fail(seq, f"pool {pool.pool_id} takes {', '.join(pool.tokens)}, each once")
            return
        position = self.positions.setdefault(pool.pool_id, {})
        for token, amount in given:
            if not facts.may_use(token):
                self._fail(seq, f"{token} is barred or no approved dollar token")
            self._spend(seq, token, amount)
            position[token] = position.get(token, 0) + amount
        parts = pool.parts_by_token()
        wholes = [facts.value(token, amount) / parts[token] for token, amount in given]
        grain = max(facts.value(token, 1) / parts[token] for token, _ in given)
        if max(wholes) - min(wholes) >= grain and len(given) > 1:
            self._fail(seq, "the tokens of a deposit are not in proportion to the pool")

    def _costs(self, seq: int, kind: str, legs: list[dict[Any, Any]]) -> None:
        """Gas stands on the first leg; every leg states its value; only conversions cost value."""
        facts, first = self.facts, legs[0]
        units = self._gas_units(kind, first["pool_id"])
        stated = [int(leg["gas_units"]) for leg in legs]
        if stated != [units] + [0] * (len(legs) - 1):
            self._fail(seq, f"gas_units {stated}, but {kind} uses {units}")
        gas_usd = [exact(leg["gas_usd"]) for leg in legs]
        if gas_usd != [Fraction(units * facts.gas_wei, 10**18) * facts.eth_price] + [Fraction(0)] * (len(legs) - 1):
            self._fail(seq, "gas_usd is not gas units times gas price times ETH price")
        for leg in legs:
            side = "out" if kind == "WITHDRAW" else "in"
            if exact(leg["value_usd"]) != facts.value(leg[f"token_{side}"], leg[f"amount_{side}"]):
                self._fail(seq, "value_usd is not amount times price")
            if kind != "CONVERT" and exact(leg["conversion_usd"]) != 0:
                self._fail(seq, "only conversions have a conversion cost")
            if kind != "WITHDRAW" and leg["is_full_exit"]:
                self._fail(seq, "only withdrawals exit")
            self.conversion += exact(leg["conversion_usd"])
            if kind in self.moved:
                self.moved[kind] += exact(leg["value_usd"])
        self.gas += sum(gas_usd)
        self.gas_units += units
        self.transactions += kind != "HOLD"

    def _gas_units(self, kind: str, pool_id: str | None) -> int:
        units = self.facts.parameters.gas_units
        if kind == "HOLD":
            return 0
        if kind == "CONVERT" or pool_id is None:
            return units.swap + units.approve
        pool = self.facts.pools[pool_id]
        into = {"lend": units.lend_in, "liquidity": units.lp_in, "vault": units.vault_in, "staking": units.vault_in}
        out = {"lend": units.lend_out, "liquidity": units.lp_out, "vault": units.vault_out, "staking": units.vault_out}
        if kind == "DEPOSIT":
            return into[pool.role] + units.approve * len(pool.tokens)
        return out.get(pool.role, max(out.values()))

    def is_known(self) -> bool:
        """Every token that the steps brought in has a price; otherwise the end cannot be valued."""
        held = {token for amounts in (self.wallet, *self.positions.values()) for token in amounts}
        unknown = sorted(held - set(self.facts.prices))
        self.errors += [f"the steps bring in {token}, which has no price" for token in unknown]
        return not unknown

    def total(self) -> Fraction:
        """Value of wallet and positions, as far as it is known."""
        amounts = [self.wallet, *self.positions.values()]
        priced = self.facts.prices
        return sum(
            (self.facts.value(token, held) for some in amounts for token, held in some.items() if token in priced),
            Fraction(0),
        )

    def compare(self, run: dict[Any, Any], allocations: pd.DataFrame) -> None:
        """The end against the plan's own tables and the policy's limits."""
        self._compare_allocations(run, allocations)
        facts, errors = self.facts, self.errors
        if self.run_ids - {run["run_id"]} or run["date"] != facts.day:
            errors.append("steps or run of another plan")
        stated = {"aum_usd": facts.aum, "gas_usd": self.gas, "conversion_usd": self.conversion}
        errors += [f"{name} of the run is {run[name]}" for name, value in stated.items() if exact(run[name]) != value]
        if run["eth_balance_wei"] != facts.eth_wei or run["n_steps"] != self.transactions:
            errors.append("eth_balance_wei or n_steps of the run is wrong")
        if run["n_pools"] != sum(any(held.values()) for held in self.positions.values()):
            errors.append("n_pools of the run is wrong")
        for pool_id, held in facts.positions.items():
            if any(held.values()) and pool_id not in self.touched:
                errors.append(f"pool {pool_id} is held, but no step names it")
        eth_after = facts.eth_wei - self.gas_units * facts.gas_wei
        if self.gas_units * facts.gas_p90_wei > facts.eth_wei:
            errors.append(f"{facts.eth_wei} wei of ETH do not pay for {self.gas_units} units of gas at the p90 price")
        eth_price = facts.eth_price / 10**18
        after = self.total()
        before = facts.aum + facts.eth_wei * eth_price
        if after + eth_after * eth_price != before - exact(run["gas_usd"]) - exact(run["conversion_usd"]):
            errors.append("wealth after the plan is not wealth before it minus gas and conversion cost")
        wanted = "screened" if facts.parameters.method == "lp" else "optimal"
        if run["status"] in PLANS and run["status"] != wanted:
            errors.append(f"method {facts.parameters.method} gives {wanted} plans, not {run['status']} ones")
        if run["status"] == "optimal" and run["verified_by"] not in ("objective", "bound"):
            errors.append("no second solver has confirmed the plan")
        if facts.aum and abs(run["turnover"] - float(max(self.moved.values()) / facts.aum)) > SHOWN:
            errors.append("turnover of the run is not what the steps move over AUM")
        if run["status"] in (*PLANS, "hold"):
            at_hand = facts.total(self.wallet) - facts.total(self.leaving)
            errors += LimitCheck(facts, self.positions, self.touched).run(at_hand)
        if self.transactions and run["status"] not in PLANS:
            errors.append(f"a plan with status {run['status']} must not send transactions")

    def _compare_allocations(self, run: dict[Any, Any], allocations: pd.DataFrame) -> None:
        facts, errors = self.facts, self.errors
        before: dict[tuple[str, str], int] = {("IDLE", token): amount for token, amount in facts.balances.items()}
        after = {("IDLE", token): amount for token, amount in self.wallet.items()}
        before |= {(pool, token): amount for pool, held in facts.positions.items() for token, amount in held.items()}
        after |= {(pool, token): amount for pool, held in self.positions.items() for token, amount in held.items()}
        seen: set[tuple[str, str]] = set()
        for row in allocations.to_dict("records"):
            key = (row["pool_id"], row["token_address"])
            if key in seen or row["run_id"] != run["run_id"] or row["date"] != facts.day:
                errors.append(f"allocation {key} is there twice or of another plan")
            seen.add(key)
            if row["amount"] != after.get(key, 0) or row["amount_before"] != before.get(key, 0):
                errors.append(
                    f"allocation {key} says {row['amount_before']} -> {row['amount']}, "
                    f"the steps give {before.get(key, 0)} -> {after.get(key, 0)}"
                )
            if row["amount"] and exact(row["value_usd"]) != facts.value(key[1], row["amount"]):
                errors.append(f"allocation {key}: value_usd is not amount times price")
            if facts.aum and abs(row["share_of_aum"] - float(exact(row["value_usd"]) / facts.aum)) > SHOWN:
                errors.append(f"allocation {key}: share_of_aum is not its value over AUM")
        missing = [key for key, amount in (after | {key: 1 for key, held in before.items() if held}).items() if amount]
        errors += [f"allocation {key} is missing" for key in missing if key not in seen]
