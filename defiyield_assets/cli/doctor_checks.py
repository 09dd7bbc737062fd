"""What `defiyield doctor` looks at: one function for each part of an installation, each with findings and advice.

Lives here: the checks. None of them changes anything, posts anything or shows a secret. Not here: running them side by
side with a time limit, and drawing (doctor.py); settings and files as a command (config.py).
"""

import shutil
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from defiyield_assets.addresses import without_secrets
from defiyield_assets.cli import config, state_checks
from defiyield_assets.cli.state_checks import BROKEN, DOUBTFUL, GOOD, NOTE, Finding
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import ConfigurationError, DefiYieldError
from defiyield_assets.settings import KEY_VARIABLES, PROJECT_ROOT, Settings, load_settings
from defiyield_assets.sources.redaction import Redactor, VendorSettings
from defiyield_assets.sources.wire import MAX_CLOCK_ERROR
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema

CLOCK_DOUBT = timedelta(seconds=30)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox", "xdg-open", "open")
MOST_READ = 8_192
"""Bytes of a vendor's answer that are looked at for words about the key."""
KEY_REFUSED = (
    "invalid api key",
    "invalid apikey",
    "missing/invalid api key",
    "apikey is invalid",
    "bad api_key",
    "invalid token",
)


@dataclass(frozen=True)
class Looked:
    """What the checks may use. `settings` is None when the environment cannot be read."""

    settings: Settings | None
    day: date
    timeout: float
    is_offline: bool


@dataclass(frozen=True)
class Call:
    """One cheap question to a vendor."""

    path: str
    params: Mapping[str, str]
    rpc: str | None = None


CALLS = {
    "defillama_yields": Call("/chart/00000000-0000-0000-0000-000000000000", {}),
    "defillama_coins": Call("/prices/current/coingecko:tether", {}),
    "coinmarketcap": Call("/v1/key/info", {}),
    "coingecko": Call("/ping", {}),
    "alpha_vantage": Call("/query", {"function": "MARKET_STATUS"}),
    "ethgastracker": Call("/api/gas/average", {}),
    "ethplorer": Call("/getLastBlock", {}),
    "etherscan": Call("/api", {"chainid": "1", "module": "proxy", "action": "eth_blockNumber"}),
    "pendle": Call("/v1/chains", {}),
    "ethereum_node": Call("", {}, rpc="eth_chainId"),
    "fred": Call("/series", {"series_id": "DGS10", "file_type": "json"}),
    "cryptopanic": Call("/posts/", {"public": "true"}),
}
"""Vendor -> the question that costs least of its limits; whatever it answers, it is there."""


def program(_looked: Looked) -> list[Finding]:
    """Python, and whether this is a whole checkout."""
    version = ".".join(map(str, sys.version_info[:3]))
    found = [Finding("program", GOOD, f"Python {version}, installed in {PROJECT_ROOT}")]
    if sys.version_info < (3, 11):  # noqa: UP036 - the very thing to tell
        found = [Finding("program", BROKEN, f"Python {version} is too old", "install Python 3.11 or newer")]
    if not (engines.MIGRATIONS / "env.py").is_file():
        advice = "install from a checkout of the repository: `pip install -e .`"
        found.append(Finding("program", BROKEN, f"no migrations in {engines.MIGRATIONS}", advice))
    return found


def configuration(looked: Looked) -> list[Finding]:
    """Settings and every configuration file."""
    found = []
    for item in config.check_all(looked.day):
        if item.error:
            advice = "correct it; `defiyield config validate` tells it again"
            found.append(Finding("configuration", BROKEN, f"{item.name}: {item.error}", advice))
        found += [
            Finding("configuration", DOUBTFUL if item.name == "settings" else NOTE, warning)
            for warning in item.warnings
        ]
    if not any(item.state == BROKEN for item in found):
        found.insert(0, Finding("configuration", GOOD, "settings and all files can be read"))
    settings = looked.settings
    files = config.files_in_force(settings.config_path if settings is not None else None)
    if settings is not None and files["accounts.yaml"] == "shipped" and settings.market == "live":
        advice = "`defiyield config init FOLDER`, set DEFIYIELD_CONFIG_DIR, and write your wallets into accounts.yaml"
        found.append(Finding("configuration", BROKEN, "a live market with the demo's made-up wallets", advice))
    if settings is not None and settings.market == "recorded":
        try:
            settings.require_recorded_data()
        except ConfigurationError as error:
            found.append(Finding("configuration", BROKEN, str(error), "name the folder, or take another market"))
    return found


def keys(looked: Looked) -> list[Finding]:
    """Which keys are set, and what the others would add."""
    settings = looked.settings
    if settings is None:
        return [Finding("keys", NOTE, "not looked at: settings cannot be read", "mend the configuration first")]
    from defiyield_assets.orchestration.resources import configured_vendors

    have = configured_vendors(settings)
    if settings.market != "live":
        return [Finding("keys", GOOD, f"the {settings.market} market needs none ({len(have)} are set)")]
    found = [Finding("keys", GOOD, f"set: {', '.join(sorted(have))}")] if have else []
    for vendor, (variable, adds) in KEY_VARIABLES.items():
        if vendor not in have:
            needed = vendor == "etherscan"
            state = DOUBTFUL if needed else NOTE
            found.append(Finding("keys", state, f"no {variable}: without it there are no {adds}", f"set {variable}"))
    return found


def database(looked: Looked) -> list[Finding]:
    """Whether the warehouse answers, is at the newest revision, and is that of this market."""
    settings = looked.settings
    if settings is None:
        return [Finding("database", NOTE, "not looked at: settings cannot be read", "mend the configuration first")]
    found = state_checks.warehouse(settings)
    if not any(item.state == GOOD for item in found):
        return found  # it does not answer, or is not there yet
    engine = engines.make_engine(settings.warehouse_url)
    try:
        newest = reads.newest_day(engine, schema.allocation_runs)
        no_day = Finding("database", NOTE, "no day has been run yet", "`defiyield demo` runs one")
        return [*found, no_day if newest is None else _newest(engine, newest)]
    finally:
        engine.dispose()


def _newest(engine: sa.Engine, newest: date) -> Finding:
    told = reads.read_days(engine, schema.asset_outcomes, DayRange.of(newest))
    failed = sorted(set(told.loc[told["status"] == "failed", "asset"]))
    if failed:
        what = f"the newest plan is of {newest}; on that day {', '.join(failed[:5])} failed"
        return Finding("database", DOUBTFUL, what, f"`defiyield run --date {newest}` tries again")
    return Finding("database", GOOD, f"the newest plan is of {newest}")


def disk(looked: Looked) -> list[Finding]:
    """Room and right to write where the state is kept."""
    return [] if looked.settings is None else state_checks.disk(looked.settings)


def clocks(looked: Looked) -> list[Finding]:
    """What this machine takes for now; vendors' clocks are looked at beside their answers."""
    now, zone = datetime.now(UTC), time.strftime("%Z")
    found = [Finding("clocks", GOOD, f"{now:%Y-%m-%d %H:%M:%S} UTC here; days are UTC whatever the zone ({zone}) is")]
    if abs(time.time() - now.timestamp()) > CLOCK_DOUBT.total_seconds():
        found = [Finding("clocks", BROKEN, "the machine tells two times at once", "set its clock (NTP)")]
    newest = max((Path(engines.__file__).stat().st_mtime, _newest_file(looked)))
    if now.timestamp() < newest - timedelta(days=1).total_seconds():
        what = f"the clock is behind files that were written on {datetime.fromtimestamp(newest, UTC):%Y-%m-%d}"
        found.append(Finding("clocks", BROKEN, what, "set the machine's clock (NTP)"))
    return found


def _newest_file(looked: Looked) -> float:
    if looked.settings is None:
        return 0.0
    path = looked.settings.state_path / "warehouse.sqlite"
    return path.stat().st_mtime if path.exists() else 0.0


def dagster(looked: Looked) -> list[Finding]:
    """Dagster's home, its file and its storage; nothing is made that is not there."""
    return state_checks.dagster(looked.settings)


def slack(looked: Looked) -> list[Finding]:
    """Whether messages go anywhere; a bot is asked who it is, a webhook cannot be tried without posting."""
    settings = looked.settings
    if settings is None:
        return []
    hook, token = settings.slack_webhook_url, settings.slack_bot_token
    if hook is None and token is None:
        what = "not configured: messages are kept as files beside the reports"
        return [Finding("slack", NOTE, what, "set DEFIYIELD_SLACK_WEBHOOK_URL, or a bot's token and channel")]
    if settings.market != "live":
        return [Finding("slack", NOTE, f"configured; the {settings.market} market writes its messages to files")]
    found = []
    if hook is not None and not hook.get_secret_value().startswith("https://"):
        advice = "copy the address of the incoming webhook once more"
        found.append(Finding("slack", BROKEN, "DEFIYIELD_SLACK_WEBHOOK_URL is no https address", advice))
    elif hook is not None:
        found.append(Finding("slack", GOOD, "a webhook is set; it cannot be tried without posting"))
    if token is not None and not settings.slack_channel:
        found.append(Finding("slack", BROKEN, "a bot's token without a channel", "set DEFIYIELD_SLACK_CHANNEL"))
    if token is not None and not looked.is_offline:
        address = (settings.slack_api_url or "https://slack.com/api/").rstrip("/")
        found.append(_bot(f"{address}/auth.test", token.get_secret_value(), looked.timeout))
    return found


def _unreadable(subject: str, variable: str, right: str, whose: str = "") -> Finding:
    """An address that is none: a port that is no number, no http in front; never repeated, it may hold a secret."""
    what = f"{variable} cannot be read as an address{f' of {whose}' if whose else ''}"
    return Finding(subject, BROKEN, what, f"right would be such as {right}")


def _bot(address: str, token: str, timeout: float) -> Finding:
    advice = "look at the token (xoxb-…) and its scope chat:write"
    try:
        with httpx.Client(trust_env=False, timeout=timeout) as client:
            answer = client.post(address, headers={"authorization": f"Bearer {token}"}).json()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return _unreadable("slack", "DEFIYIELD_SLACK_API_URL", "https://slack.com/api/")
    except (httpx.HTTPError, ValueError) as error:
        return Finding("slack", DOUBTFUL, f"Slack does not answer: {type(error).__name__}", "look at the network")
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        words = answer.get("error", "no reason") if isinstance(answer, dict) else "no reason"
        return Finding("slack", BROKEN, f"Slack refuses the bot: {str(words)[:80]}", advice)
    return Finding("slack", GOOD, "Slack knows the bot")


def ollama(looked: Looked) -> list[Finding]:
    """Whether the model that is asked for signals is there."""
    settings = looked.settings
    if settings is None:
        return []
    if settings.signal_model == "stub":
        advice = "set DEFIYIELD_SIGNAL_MODEL to ask a model"
        return [Finding("ollama", NOTE, "not used: signals come from the stub", advice)]
    address = (settings.ollama_url or "http://127.0.0.1:11434").rstrip("/")
    shown, model = without_secrets(address), settings.signal_model
    try:
        with httpx.Client(trust_env=False, timeout=looked.timeout) as client:
            told = client.get(f"{address}/api/tags").raise_for_status().json()
        names = {str(item["name"]) for item in told["models"]}
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return [_unreadable("ollama", "DEFIYIELD_OLLAMA_URL", "http://127.0.0.1:11434")]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        advice = "start it (`ollama serve`), or set DEFIYIELD_OLLAMA_URL"
        return [Finding("ollama", BROKEN, f"nobody answers as Ollama at {shown}: {type(error).__name__}", advice)]
    if not {model, f"{model}:latest"} & names:
        return [Finding("ollama", BROKEN, f"{shown} has no model {model}", f"ollama pull {model}")]
    return [Finding("ollama", GOOD, f"{shown} has {model}")]


def browser(_looked: Looked) -> list[Finding]:
    """Whether `defiyield report open` will find one."""
    try:
        name = getattr(webbrowser.get(), "name", "") or "the system's"
    except webbrowser.Error:
        command = next((found for name in BROWSERS if (found := shutil.which(name))), None)
        advice = "`defiyield report open --path` tells where the page lies, `defiyield report show` draws its text"
        has = f"{command} is there, but not as this user's browser" if command else "no browser is installed"
        return [Finding("browser", NOTE, has, f"set BROWSER={command}" if command else advice)]
    return [Finding("browser", GOOD, f"pages open in {name}")]


def vendor_checks(looked: Looked) -> dict[str, Callable[[Looked], list[Finding]]]:
    """A check for each vendor that would be asked; one that says why none is, where that is so."""
    settings = looked.settings

    def say(words: str) -> dict[str, Callable[[Looked], list[Finding]]]:
        return {"vendors": lambda _: [Finding("vendors", NOTE, words)]}

    if settings is None:
        return say("not asked: settings cannot be read")
    if settings.market != "live":
        return say(f"not asked: the {settings.market} market answers for them")
    if looked.is_offline:
        return say("not asked: --offline")
    from defiyield_assets.orchestration.resources import configured_vendors, live_vendors

    try:
        vendors, have = live_vendors(settings), configured_vendors(settings)
    except DefiYieldError as error:
        words = str(error)
        return {"vendors": lambda _: [Finding("vendors", BROKEN, words, "correct DEFIYIELD_VENDORS")]}
    asked = [name for name in CALLS if name in have or name not in KEY_VARIABLES or name == "ethplorer"]
    return {f"vendor {name}": _vendor_check(vendors[name]) for name in asked}


def _vendor_check(vendor: VendorSettings) -> Callable[[Looked], list[Finding]]:
    return lambda looked: ask_vendor(vendor, looked.timeout, datetime.now(UTC))


def ask_vendor(
    vendor: VendorSettings, timeout: float, now: datetime, transport: httpx.BaseTransport | None = None
) -> list[Finding]:
    """One question; who answers is there, and its `Date` tells how far our clock is off."""
    call, headers, params = CALLS[vendor.name], {"user-agent": "defiyield-assets"}, {}
    if vendor.api_key and vendor.key_header:
        headers[vendor.key_header] = vendor.api_key
    if vendor.api_key and vendor.key_param:
        params[vendor.key_param] = vendor.api_key
    address = vendor.secret_url or f"{vendor.base_url}{call.path}"
    body = {"jsonrpc": "2.0", "id": 1, "method": call.rpc, "params": []} if call.rpc else None
    try:
        with (
            httpx.Client(trust_env=False, timeout=timeout, follow_redirects=False, transport=transport) as client,
            client.stream(
                "POST" if body else "GET", address, params={**call.params, **params}, headers=headers, json=body
            ) as answer,
        ):
            said = next(answer.iter_bytes(MOST_READ), b"").decode("utf-8", "replace").lower()
            status, stamp = answer.status_code, answer.headers.get("date", "")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        variable = "DEFIYIELD_ETHEREUM_RPC_URL" if vendor.name == "ethereum_node" else "DEFIYIELD_VENDORS"
        return [_unreadable("vendors", f"{variable} (or DEFIYIELD_VENDOR_SERVER)", "https://host/path", vendor.name)]
    except (httpx.HTTPError, ValueError) as error:
        advice = "look at the network and at the vendor's status page; the day is run again by `defiyield run`"
        return [Finding("vendors", BROKEN, f"{vendor.name} does not answer: {type(error).__name__}", advice)]
    return [_answer_finding(vendor, status, said), *_clock_findings(vendor.name, stamp, now)]


def _answer_finding(vendor: VendorSettings, status: int, said: str) -> Finding:
    name = vendor.name
    if status in (401, 403) or any(words in said for words in KEY_REFUSED):
        variable = KEY_VARIABLES[name][0] if name in KEY_VARIABLES else "its access"
        return Finding("vendors", BROKEN, f"{name} refuses us ({status})", f"look at {variable}")
    if status == 429:
        return Finding("vendors", DOUBTFUL, f"{name} says that we ask too much (429)", "wait; `defiyield budget`")
    if status >= 500:
        return Finding("vendors", DOUBTFUL, f"{name} is out of order ({status})", "wait; runs try again")
    return Finding("vendors", GOOD, f"{name} answers ({status})")


def _clock_findings(name: str, stamp: str, now: datetime) -> Sequence[Finding]:
    """How far our clock is from the vendor's `Date` header."""
    try:
        told = parsedate_to_datetime(stamp)
    except ValueError:
        return []
    told = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    off = abs(now - told)
    if off <= CLOCK_DOUBT:
        return []
    words = (
        f"{name} says it is {told.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {off.total_seconds():,.0f} s from our clock"
    )
    state = BROKEN if off > MAX_CLOCK_ERROR else DOUBTFUL
    return [Finding("clocks", state, words, "set the machine's clock (NTP)")]


CHECKS: Mapping[str, Callable[[Looked], list[Finding]]] = {
    "program": program,
    "configuration": configuration,
    "keys": keys,
    "database": database,
    "disk": disk,
    "clocks": clocks,
    "dagster": dagster,
    "ollama": ollama,
    "slack": slack,
    "browser": browser,
}
"""What is always looked at, in the order of telling; vendors follow (vendor_checks)."""


def look(settings_problem: list[str], timeout: float, *, is_offline: bool) -> Looked:
    """What the checks may use; why settings cannot be read is added to `settings_problem`."""
    try:
        settings: Settings | None = load_settings()
    except Exception as error:  # noqa: BLE001 - a broken environment is what doctor is for
        settings_problem.append(str(error))
        settings = None
    return Looked(settings, datetime.now(UTC).date(), timeout, is_offline)


def as_told(finding: Finding, hide: Redactor) -> dict[str, Any]:
    """A finding as it may be shown to anybody."""
    return {
        "area": finding.area,
        "state": finding.state,
        "what": hide.text(finding.what),
        "advice": hide.text(finding.advice),
    }
