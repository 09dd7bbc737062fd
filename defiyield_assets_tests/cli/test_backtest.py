"""`defiyield backtest-policy` over the days of the closed loop."""

from pathlib import Path

import pytest

from defiyield_assets.cli.main import main
from defiyield_assets_tests.installations import Loop

pytestmark = pytest.mark.slow

DAYS = ["--from", "2025-06-03", "--to", "2025-06-05"]


@pytest.mark.usefixtures("command_line")
def test_stored_days_are_replayed_beside_simple_strategies(
    closed_loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    state = closed_loop.installation
    before = state.fingerprints()
    assert main(["backtest-policy", "--state-dir", str(state.folder), *DAYS, "--capital", "250,000"]) == 0
    told = capsys.readouterr().out
    assert "2025-06-04 to 2025-06-05, 2 days" in told
    for name in ("policy", "hold", "equal weight", "best APY, daily", "foresight"):
        assert name in told
    assert "Where the policy's yield came from" in told
    assert state.fingerprints() == before


@pytest.mark.usefixtures("command_line")
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--from", "2025-06-03", "--to", "2025-06-03"], "too short"),
        ([*DAYS, "--capital", "0"], "from a cent"),
        ([*DAYS, "--capital", "much"], "no amount"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_words(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        code = main(["backtest-policy", "--state-dir", str(tmp_path), *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    assert word in capsys.readouterr().err
