"""`defiyield simulator serve`: what it prints, that it answers, how it ends, what it refuses.

Not here: the server itself (simulator/test_server.py).
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from defiyield_assets.cli.main import main
from defiyield_assets.cli.serve import parse_rate_limits
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.server import RateLimit

PATIENCE_SECONDS = 60.0


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The command in a process of its own, on a port that it finds."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DEFIYIELD_")}
    arguments = ["simulator", "serve", "--port", "0", "--state-dir", str(folder), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "defiyield_assets.cli.main", *arguments],
        env={**ours, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines_until(process: subprocess.Popen[str], last: str) -> str:
    """Everything that it says up to a line with these words."""
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + PATIENCE_SECONDS
    for line in process.stdout:
        said += line
        if last in line:
            return said
        assert time.monotonic() < deadline, said
    raise AssertionError(f"it ended without {last!r}:\n{said}")


def test_it_serves_says_how_to_use_it_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    process = start(tmp_path, "--day", "2025-06-03", "--fault", "unavailable:coins.llama.fi/*")
    try:
        said = lines_until(process, "Ctrl-C")
        found = re.search(r"export DEFIYIELD_VENDOR_SERVER=(http://127\.0\.0\.1:\d+)\n", said)
        assert found, said
        assert f"{found[1]}/yields.llama.fi/" in said
        assert "fault: unavailable on coins.llama.fi/*" in said
        assert "defiyield run --market live --date 2025-06-03" in said
        with httpx.Client(base_url=found[1], trust_env=False) as client:
            gas = client.get("/www.ethgastracker.com/api/gas/average")
            assert (gas.status_code, gas.headers["date"]) == (200, "Wed, 04 Jun 2025 00:30:00 GMT")
            assert client.get("/coins.llama.fi/prices/current/ethereum:0x").status_code == 503
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        rest = process.stdout.read()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert rest.strip() == "stopped after 2 requests", "no traceback"
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("command_line")
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--market", "live"], "the live market cannot be served; give --market simulated or recorded"),
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines: say so with --public"),
        (["--day", "1999-01-01"], "knows the days 2024-01-01 to 2028-12-31, not 1999-01-01"),
        (["--fault", "flood:*"], "kinds are throttled, server_error"),
        (["--fault", "reset"], "write KIND:HOST/PATH[:RATE]"),
        (["--rate-limit", "yields.llama.fi=fast"], "write HOST=N/SECONDS, such as yields.llama.fi=300/60"),
        (["--rate-limit", "yields.llama.fi=0/60"], "write HOST=N/SECONDS"),
    ],
)
def test_what_cannot_be_served_is_refused_in_words(
    options: list[str], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulator", "serve", "--port", "0", "--state-dir", str(tmp_path / "state"), *options]) == 2
    assert wanted in " ".join(capsys.readouterr().err.split())


def test_limits_are_read_per_host() -> None:
    assert parse_rate_limits(["Yields.llama.fi=300/60", "api.etherscan.io=3/1.5"]) == {
        "yields.llama.fi": RateLimit(300, 60.0),
        "api.etherscan.io": RateLimit(3, 1.5),
    }
    with pytest.raises(ConfigurationError):
        parse_rate_limits(["=3/1"])
