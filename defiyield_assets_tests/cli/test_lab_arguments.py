"""Arguments of the lab: options before and after an action; bounds and the seed that commands and assets share."""

import pytest

from defiyield_assets.cli.assess import Drawing
from defiyield_assets.cli.main import build_parser
from defiyield_assets.domain.strategies.limits import DEFAULT_SEED, MOST_PROCESSES, MOST_SEED
from defiyield_assets.orchestration.assets.scenarios import ScenariosToMake
from defiyield_assets.orchestration.assets.strategies import Backtesting


@pytest.mark.parametrize("action", [("list",), ("generate", "--type", "gbm")])
def test_options_before_an_action_hold_and_those_after_it_win(action: tuple[str, ...]) -> None:
    before = ("scenarios", "--count", "3", "--seed", "11", "--from", "2024-01-02", "--market", "recorded")
    told = build_parser().parse_args([*before, *action])
    assert (told.count, told.seed, str(told.first), told.market) == (3, 11, "2024-01-02", "recorded")
    assert (told.json, told.last) == (False, None)
    after = build_parser().parse_args([*before, *action, "--count", "4", "--market", "live", "--json"])
    assert (after.count, after.seed, after.market, after.json) == (4, 11, "live", True)


def test_the_stage_without_an_action_has_every_option() -> None:
    told = build_parser().parse_args(["scenarios"])
    assert (told.count, told.seed, told.types, told.json, told.action) == (None, DEFAULT_SEED, None, False, None)


def test_commands_and_assets_have_one_seed_and_the_same_bounds() -> None:
    assert ScenariosToMake().seed == Drawing().seed == build_parser().parse_args(["assess"]).seed == DEFAULT_SEED
    told = build_parser().parse_args(["assess", "--workers", str(MOST_PROCESSES), "--seed", str(MOST_SEED)])
    assert Backtesting(workers=told.workers).workers == MOST_PROCESSES
    assert ScenariosToMake(seed=told.seed).seed == MOST_SEED
