"""Reading strategies: what is shipped, and what is wrong in words with file, line and the nearest known name."""

import json
import re
from pathlib import Path

import pytest

from defiyield_assets.config import strategy_files
from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.domain.strategies.columns import nearest
from defiyield_assets.domain.strategies.strategy import json_schema
from defiyield_assets.errors import ConfigurationError

SHIPPED = {
    *("buy_and_hold", "dollar_cost_averaging", "golden_cross", "sma_cross", "macd_cross", "rsi_mean_reversion"),
    *("bollinger_reversion", "turtle", "donchian", "momentum", "dual_momentum", "volatility_target", "sixty_forty"),
    *("random_entries", "historical_ai_signal"),
}
GOOD = """id: rsi_dip
version: 1
universe: crypto_liquid
sizing: {method: risk, risk: 0.01, max_position: 0.2}
rules:
  - side: long
    enter: {all: [{col: rsi_14, op: lt, value: 30}, {col: close, op: gt, ref: sma_200}]}
    exit:  {any: [{col: rsi_14, op: gt, value: 50}, {bars_held: 20}]}
    stop: {pct: 0.05}
    target: {pct: 0.10}
"""


def _written(folder: Path, text: str, name: str = "own.yaml") -> Path:
    (folder / "strategies").mkdir(exist_ok=True)
    (folder / "strategies" / name).write_text(text, encoding="utf-8")
    return folder


def _complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_strategies(_written(folder, text))
    return str(caught.value)


def test_where_no_name_is_near_all_that_one_can_read_are_listed() -> None:
    told = nearest("zzz", load_strategies())
    assert all(name in told for name in load_strategies())
    assert nearest("turtl", load_strategies()) == "did you mean 'turtle'?"


def test_every_shipped_strategy_is_read_and_each_has_a_hash_of_its_own() -> None:
    found = load_strategies()
    assert set(found) == SHIPPED
    assert len({one.content_hash for one in found.values()}) == len(found)


def test_the_specs_example_is_read_beside_the_shipped_ones(tmp_path: Path) -> None:
    found = load_strategies(_written(tmp_path, GOOD))
    assert set(found) == SHIPPED | {"rsi_dip"}
    assert found["rsi_dip"].columns == {"rsi_14", "close", "sma_200"}


def test_a_users_file_of_a_shipped_name_wins_and_a_repeated_id_does_not(tmp_path: Path) -> None:
    text = GOOD.replace("rsi_dip", "golden_cross")
    assert load_strategies(_written(tmp_path, text, "golden_cross.yaml"))["golden_cross"].columns == {
        "rsi_14",
        "close",
        "sma_200",
    }
    with pytest.raises(ConfigurationError, match="an id belongs to one file"):
        load_strategies(_written(tmp_path, text, "other.yaml"))


@pytest.mark.parametrize(
    ("wrong", "right", "line", "words"),
    [
        ("col: rsi_14, op: lt, value: 30", "col: rsi14, op: lt, value: 30", 7, "did you mean 'rsi_14'?"),
        ("op: gt, ref: sma_200", "op: gte, ref: sma_200", 7, "did you mean 'gt'?"),
        ("value: 50}", "value: 50, ref: sma_10}", 8, "value and ref exclude each other"),
        ("ref: sma_200", "ref: distance_52w_high", 7, "first value after 364 bars"),
        ("ref: sma_200", "ref: smaa_200", 7, "did you mean 'sma_200'?"),
        ("{pct: 0.05}", "{percent: 0.05}", 9, "needs one of the keys pct, atr, fixed, swing"),
        ("{pct: 0.05}", "{pct: 0.05, col: x}", 9, "is not a known key"),
        ("method: risk", "method: risks", 4, "did you mean 'risk'?"),
        ("universe: crypto_liquid", "universe: crypto_liqid", 3, "did you mean 'crypto_liquid'?"),
        ("version: 1", "version: 2020-01-01", 2, "version is a date, 2020-01-01, which no key takes"),
        (
            "stop: {pct: 0.05}\n    target: {pct: 0.10}",
            "stop: &a {pct: 0.05}\n    target: *a",
            10,
            "is an alias (*name)",
        ),
        ("universe: crypto_liquid", "universum: crypto_liquid", 3, "did you mean 'universe'?"),
        ("    stop: {pct: 0.05}\n", "", 6, "sizing by risk measures the way"),
        ("stop: {pct: 0.05}", "stop: {pct: 5}", 9, "5 is a fraction of the price: 5 % is 0.05"),
        ("version: 1", "version: yes", 2, "version is true"),
        ("version: 1", "version: 1\ntype: signals", 3, "did you mean 'signal'?"),
        ("value: 30}", "bars_held: 3}", 7, "is not a known key"),
        ("{col: rsi_14, op: lt, value: 30}", "{bars_held: 3}", 7, "only an exit knows"),
        ("op: lt, value: 30", "op: between, value: 30", 7, "needs value: [low, high]"),
        ("op: lt, value: 30", "op: lt, value: [1, 2]", 7, "compares with one number"),
        ("op: lt, value: 30", "op: lt", 7, "needs a value (a number) or a ref"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_what_would_be_right(
    tmp_path: Path, wrong: str, right: str, line: int, words: str
) -> None:
    assert wrong in GOOD
    complaint = _complaint(tmp_path, GOOD.replace(wrong, right, 1))
    assert words in complaint
    assert f"own.yaml:{line}:" in complaint


@pytest.mark.parametrize(
    ("bomb", "words"),
    [
        ("a: &a [*a]\n", r"own\.yaml: an alias \(\*name\) holds itself"),
        (
            "a: &a [1, 1]\n" + "".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 20)}]\n" for n in range(1, 6)),
            "more than 100,000 keys",
        ),
    ],
)
def test_aliases_that_never_end_are_refused(tmp_path: Path, bomb: str, words: str) -> None:
    assert re.search(words, _complaint(tmp_path, GOOD + bomb.replace("*k0", "*a")))


def test_a_signal_type_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    text = "id: follow\nversion: 1\nuniverse: crypto_liquid\ntype: external\nsignal: 'ai:lama3.1'\n"
    text += "sizing: {method: equal}\n"
    complaint = _complaint(tmp_path, text)
    assert "own.yaml:5: signal: 'ai:lama3.1' is no type of signal; did you mean 'ai:llama3.1'?" in complaint
    assert "follow" in load_strategies(tmp_path, signal_types={"ai:lama3.1", "ai:llama3.1"})


def test_members_have_to_exist_and_make_no_ring(tmp_path: Path) -> None:
    text = (
        "id: {id}\nversion: 1\nuniverse: crypto_liquid\ntype: composite\nvote: unanimous\nsizing: {{method: equal}}\n"
        "members: [{{strategy: {one}}}, {{strategy: {two}}}]\n"
    )
    complaint = _complaint(tmp_path, text.format(id="both", one="golden_cros", two="donchian"))
    assert "own.yaml:7" in complaint
    assert "did you mean 'golden_cross'?" in complaint
    _written(tmp_path, text.format(id="both", one="other", two="donchian"))
    _written(tmp_path, text.format(id="other", one="both", two="donchian"), "ring.yaml")
    with pytest.raises(ConfigurationError, match="ring: both -> other -> both"):
        load_strategies(tmp_path)
    _written(tmp_path, text.format(id="other", one="momentum", two="donchian"), "ring.yaml")
    both = load_strategies(tmp_path)["both"]
    assert [one.strategy_id for one in both.members] == ["other", "donchian"]


def test_a_members_change_changes_the_composites_hash(tmp_path: Path) -> None:
    text = (
        "id: both\nversion: 1\nuniverse: crypto_liquid\ntype: composite\nvote: majority\nsizing: {method: equal}\n"
        "members: [{strategy: rsi_dip}, {strategy: donchian}]\n"
    )
    _written(tmp_path, text, "both.yaml")
    before = load_strategies(_written(tmp_path, GOOD))["both"].content_hash
    after = load_strategies(_written(tmp_path, GOOD.replace("value: 30", "value: 31")))["both"].content_hash
    assert before != after


def test_an_own_indicator_may_not_take_a_columns_name_and_reads_a_known_column(tmp_path: Path) -> None:
    text = GOOD + "indicators:\n  sma_10: {method: sma, bars: 10}\n  mine: {method: ema, bars: 9, col: clos}\n"
    complaint = _complaint(tmp_path, text)
    assert "own.yaml:12: indicators.sma_10: sma_10 is a column already" in complaint
    assert "did you mean 'close'?" in complaint


def test_a_warm_up_of_another_scenario_may_be_asked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"dual_momentum\.yaml.*return_252 has its first value after 253 bars"):
        load_strategies(warm_up=100)


def test_a_broken_file_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    assert "cannot be read as YAML" in _complaint(tmp_path, "id: [")
    assert "own.yaml" in _complaint(tmp_path, "- 1\n- 2\n")


def test_the_shipped_schema_knows_columns_and_kinds_for_editors_and_is_that_of_the_models() -> None:
    text = json.dumps(json_schema())
    shipped = (Path(strategy_files.__file__).parent / "strategies" / "schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == json.loads(text), "write json_schema() to it anew"
    for name in ("rsi_14", "crosses_above", "bars_held", "half_kelly", "sequential", "risk_reward"):
        assert f'"{name}"' in text
