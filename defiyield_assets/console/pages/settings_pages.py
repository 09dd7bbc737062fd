"""The pages of the settings: what is in force, the forms, a preview, versions and what differs between two.

Lives here: what these pages say. Not here: reading forms (settings_changes.py), routes and writing (settings.py), how
they look (templates/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from defiyield_assets.config import changes
from defiyield_assets.config.parameters import Parameter, parameters, shown_value, value_of
from defiyield_assets.config.row_fields import LABELS, fields_of
from defiyield_assets.config.versions import Comparison, InForce
from defiyield_assets.console.layout import Inner, Page, Panel
from defiyield_assets.console.pages.settings_changes import FIRST, Wanted
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.policy_preview import PlanFigures, PolicyPreview, PoolVerdict
from defiyield_assets.domain.reporting.formats import clean, float_usd, percent
from defiyield_assets.domain.reporting.layout import Fact, Section, Table, numbers, text
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.policy_versions import PolicyVersion, VersionFacts

VERSIONS = ("policy_versions",)
LISTS: Mapping[str, tuple[str, str]] = {
    "token": ("Approved tokens", "what may be held; an address decides, a symbol is only shown"),
    "blacklist": ("Blacklist", "what is never held; it wins over the approved tokens"),
    "protocol": ("Approved protocols", "where money may be put"),
    "protocol-alias": ("Older names of protocols", "an older slug and that of today"),
    "override": (
        "Facts about single pools",
        "role, tokens, maturity, days to leave or access, where the vendor is silent",
    ),
    "icebox": ("Manual words on tokens", "bars a token, or frees it, until a day; wins over the rules of the icebox"),
    "alias": ("Renamed pools", "a pool id that is gone and the one under which the pool goes on"),
}
"""Kind of row -> the list's title and what it is for."""
WIDEST = 300
WHEN = "that is the day after the newest one that was made, or today where that is earlier or none was made yet (UTC)"
"""What `first_day_of_change` says, in words."""
RESTORED = (
    "A restore brings the files back as they were, with their days: a row that has ended since is in them without its "
    "end. Days that are made stay as they are, but one that is made again is made as if the row had never ended, so "
    "that a token that was barred since may be held on it."
)


# --- overview ------------------------------------------------------------------------------------------------------
def overview_page(before: InForce, held: Parameters | None, wrong: str, day: date) -> Page:
    """Everything in force. `held` is None where the files do not load, which `wrong` tells."""
    newest = before.newest
    number = "no version was written yet" if newest is None else f"version {newest.version} is the newest"
    alarm = wrong or before.drift or ""
    panels = [_lists_panel(before, day)]
    if held is not None:
        panels += _parameter_panels(held, before)
    return Page(
        title="Settings",
        here="settings",
        headline="The files in force do not load" if wrong else f"The policy in force; {number}",
        day=None,
        tone="bad" if wrong else "warn" if alarm else "calm",
        paragraphs=(
            *([clean(alarm, 1_000)] if alarm else []),
            _intro(before),
            *([] if held is None else [f"{_source(before)} {_changed(held)}"]),
        ),
        facts=_version_facts(newest) if newest is not None else (),
        facts_assets=VERSIONS if newest is not None else (),
        panels=tuple(panels),
        is_dated=False,
        template="settings.html.j2",
    )


def _intro(before: InForce) -> str:
    return (
        f"Changes are checked, previewed on the newest planned day, and written with author and reason into "
        f"{before.folder}. They count from the next day that is made. Wallets are not changed here."
    )


def _source(before: InForce) -> str:
    """Where the values shown come from."""
    if before.newest is None:
        files = f"the files in force: those in {before.folder}, else the shipped ones"
    elif before.is_drifted:
        files = f"the files in force, which are not those of version {before.newest.version}"
    else:
        files = f"the files in force, those of version {before.newest.version}"
    return f"Values and rows are from {files}; a day that is made keeps those that it was made with."


def _source_assets(before: InForce) -> tuple[str, ...]:
    """The table that holds the files in force, where one does."""
    return () if before.newest is None or before.is_drifted else VERSIONS


def _changed(held: Parameters) -> str:
    """Which parameters are not as shipped."""
    names = [one.name for one in parameters() if value_of(held, one.name) != one.default]
    return f"Other than their defaults: {', '.join(names)}." if names else "All parameters have their defaults."


def _parameter_panels(held: Parameters, before: InForce) -> list[Panel]:
    """Every parameter, by the sections of the shipped file; a value that is not the default says so."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    for one in parameters():
        value, default = shown_value(value_of(held, one.name)), shown_value(one.default)
        value = value if value_of(held, one.name) == one.default else f"{value} (changed)"
        row = (Inner(one.name, "settings", "parameters", one.name), value, default, one.unit, one.meaning)
        sections.setdefault(one.section, []).append(row)
    columns = (*text("Parameter"), *numbers("Value", "Default"), *text("Unit", "What it means"))
    return [
        Panel(
            Section(f"parameters-{number}", f"{title[:1].upper()}{title[1:]}", tables=(_open_table(columns, rows),)),
            _source_assets(before),
            None,
        )
        for number, (title, rows) in enumerate(sections.items(), 1)
    ]


def _open_table(columns: Any, rows: Sequence[tuple[str, ...]], caption: str = "") -> Table:
    return Table(columns, tuple(rows), caption=caption, fold="never")


def _lists_panel(before: InForce, day: date) -> Panel:
    rows = []
    for kind, (title, words) in LISTS.items():
        file = changes.KINDS[kind].file
        in_force = changes.rows_in_force(before.files[file], kind, day) if is_yaml(before, kind, day) else []
        rows.append((Inner(title, "settings", "lists", kind), f"{len(in_force):,}", file, words))
    columns = (*text("List"), *numbers("Rows in force"), *text("File", "What it is for"))
    return Panel(Section("lists", "Lists", tables=(_open_table(columns, rows),)), _source_assets(before), None)


def is_yaml(before: InForce, kind: str, day: date) -> bool:
    """Whether the file of a kind of row can be read at all; somebody may have left it otherwise."""
    try:
        changes.rows_in_force(before.files[changes.KINDS[kind].file], kind, day)
    except ConfigurationError:
        return False
    return True


# --- forms ---------------------------------------------------------------------------------------------------------
def parameter_page(one: Parameter, value: str, before: InForce, words: str = "", typed: str | None = None) -> Page:
    """One parameter with the form that changes it. `words`: what was wrong with what was `typed`."""
    facts = [Fact("Value in force", value), Fact("Default", shown_value(one.default)), Fact("Unit", one.unit or "none")]
    return Page(
        title="Change a parameter",
        here="settings",
        headline=one.name,
        day=None,
        paragraphs=(f"{one.meaning[:1].upper()}{one.meaning[1:]}.", Inner("All settings", "settings")),
        facts=tuple(facts),
        facts_assets=_source_assets(before),
        is_dated=False,
        template="settings_parameter.html.j2",
        extra={"one": one, "value": value if typed is None else typed, "words": words},
    )


@dataclass(frozen=True)
class ListRow:
    """A row as it is shown, with the fields that name it."""

    fields: tuple[tuple[str, str], ...]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class KeyField:
    """A part of a row's name in a form."""

    name: str
    label: str


def list_page(kind: str, before: InForce, day: date, words: str = "", typed: Mapping[str, str] | None = None) -> Page:
    """One list with its rows and the forms that add one or end one."""
    place, (title, meaning) = changes.KINDS[kind], LISTS[kind]
    rows = [row for _, row in changes.rows_in_force(before.files[place.file], kind, day)]
    columns = _columns_of(kind, rows)
    shown = [ListRow(_naming(row, place), tuple(_cell(row.get(name)) for name in columns)) for row in rows]
    return Page(
        title="Change a list",
        here="settings",
        headline=f"{title}: {len(rows):,} in force or to come",
        day=None,
        paragraphs=(f"{place.file}: {meaning}.", Inner("All settings", "settings")),
        is_dated=False,
        template="settings_list.html.j2",
        extra={
            "kind": kind,
            "columns": columns,
            "rows": shown,
            "keys": [KeyField(key, LABELS.get(key, key)) for key in place.keys],
            "fields": fields_of(kind),
            "has_chain": place.has_chain,
            "words": words,
            "counts": f"It counts from {day} on, and never for days before: {WHEN}.",
            "typed": dict(typed or {}),
        },
    )


def _naming(row: Mapping[str, Any], place: changes.Listed) -> tuple[tuple[str, str], ...]:
    """The fields of a form that name a row: two rows of a list may differ in their first days alone."""
    name, *others = place.keys
    return (
        (name, changes.name_of(row, place)),
        *((key, str(row.get(key))) for key in others),
        ("chain", str(row.get("chain", ""))),
        (FIRST, changes.first_day_of(row, place)),
    )


def _columns_of(kind: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the fields that any row has, the most telling first."""
    place = changes.KINDS[kind]
    first = [name for name in ("symbol", *place.keys, "chain") if any(name in row for row in rows)]
    known = [one.name for one in fields_of(kind)]
    there = {name for row in rows for name in row}
    return list(dict.fromkeys([*first, *(name for name in known if name in there), *sorted(there)]))


def _cell(value: Any) -> str:
    return "" if value is None else clean(shown_value(value), WIDEST)


# --- preview -------------------------------------------------------------------------------------------------------
def preview_page(
    change: Wanted,
    day: date,
    diffs: Sequence[str],
    told: PolicyPreview | None,
    problem: str,
    *,
    words: str = "",
    typed: Mapping[str, str] | None = None,
) -> Page:
    """What a change would do, and the form that writes it. `day`: from which it counts; `problem`: why there is no
    preview; `words`: why it was not written as it was `typed`."""
    panels: tuple[Panel, ...] = ()
    if told is not None:
        panels = (_figures_panel(told), *_pool_panels(told), *_holdings_panel(told))
    headline = told.words if told is not None else f"No preview: {clean(problem, 600)}"
    return Page(
        title=f"Preview: {clean(change.what, 200)}",
        here="settings",
        headline=headline,
        day=None,
        tone="warn" if told is None or not told.is_without_effect else "calm",
        paragraphs=(
            *(() if told is None else filter(None, (told.held_words, told.basis, *told.caveats))),
            *(() if change.restored_from is None else (RESTORED,)),
            f"Nothing is written yet. Written now, it counts from {day} on: {WHEN}.",
        ),
        panels=panels,
        is_dated=False,
        template="settings_preview.html.j2",
        extra={"diffs": list(diffs), "what": change.what, "words": words, "typed": dict(typed or {})},
    )


def _figures_panel(told: PolicyPreview) -> Panel:
    def of(name: str) -> tuple[str, str]:
        before, after = _shown(name, told.before), _shown(name, told.after)
        return before, after

    rows = [
        ("Pools past the pre-filter", f"{told.prefiltered_before:,}", f"{told.prefiltered_after:,}"),
        ("Eligible pools", f"{told.eligible_before:,}", f"{told.eligible_after:,}"),
        ("Projected APY", *of("projected_apy")),
        ("APY of doing nothing", *of("hold_apy")),
        ("Gain over the horizon, after costs", *of("gain_usd")),
        ("Gas and conversions", *of("cost_usd")),
        ("Pools held", *of("n_pools")),
        ("Transactions", *of("n_steps")),
        ("Status of the plan", *of("status")),
        ("Message of the plan", *of("message")),
    ]
    table = _open_table((*text("Figure"), *numbers("Now", "With the change")), rows)
    section = Section("figures", f"The plan of {told.day}", tables=(table,))
    return Panel(section, ("allocation_runs", "eligible_pools", "prefiltered_pools"), told.day)


def _shown(name: str, plan: PlanFigures) -> str:
    value = getattr(plan, name)
    if name.endswith("_apy"):
        return percent(value)
    if name.endswith("_usd"):
        return float_usd(value)
    return clean(value, 600)


def _pool_panels(told: PolicyPreview) -> tuple[Panel, ...]:
    found = []
    named = (("dropped", "Would drop out", told.dropped), ("let-in", "Would come in", told.let_in))
    for anchor, title, pools in named:
        if pools:
            rows = [_pool_row(one, told.day) for one in pools]
            why = "Why" if anchor == "dropped" else "Why not so far"
            columns = text("Pool", "Protocol", "Held", "Plan now", "With the change", why)
            section = Section(anchor, f"{title}: {len(pools):,}", tables=(_open_table(columns, rows),))
            found.append(Panel(section, ("eligible_pools", "prefiltered_pools", "allocations"), told.day))
    return tuple(found)


def _pool_row(one: PoolVerdict, day: date) -> tuple[str, ...]:
    name = Inner(clean(one.symbol, 80), "pools", one.pool_id, date=day)
    held = "yes" if one.is_held else "no"
    return name, clean(one.protocol, 80), held, one.now, one.then, clean(one.reasons, WIDEST)


def _holdings_panel(told: PolicyPreview) -> tuple[Panel, ...]:
    if not told.moved:
        return ()
    rows = [
        (clean(one.symbol, 80), clean(one.protocol, 80), float_usd(one.before_usd), float_usd(one.after_usd))
        for one in told.moved
    ]
    columns = (*text("Pool", "Protocol"), *numbers("Now", "With the change"))
    section = Section("holdings", "Holdings that would differ", tables=(_open_table(columns, rows),))
    return (Panel(section, ("allocations",), told.day),)


# --- versions ------------------------------------------------------------------------------------------------------
def versions_page(before: InForce, found: Sequence[VersionFacts]) -> Page:
    """All versions, the newest first, and the form that compares two."""
    rows = [
        (
            Inner(f"{one.version}", "settings", "versions", str(one.version)),
            f"{one.created_at:%Y-%m-%d %H:%M}",
            clean(one.author, 80),
            clean(one.what, WIDEST),
            clean(one.reason, WIDEST),
        )
        for one in found
    ]
    table = _open_table(text("Version", "Written (UTC)", "By", "What", "Why"), rows)
    panels = (Panel(Section("versions", "Versions", tables=(table,)), VERSIONS, None),) if rows else ()
    return Page(
        title="Versions",
        here="settings",
        headline=f"{len(found):,} version{'' if len(found) == 1 else 's'} of the policy"
        if found
        else "No version was written yet",
        day=None,
        tone="warn" if before.drift else "calm",
        paragraphs=tuple(filter(None, (clean(before.drift, 1_000) if before.drift else "", _versions_intro()))),
        panels=panels,
        is_dated=False,
        template="settings_versions.html.j2",
        extra={"numbers": [one.version for one in found]},
    )


def _versions_intro() -> str:
    return (
        "A version holds policy.yaml, tokens.yaml and protocols.yaml as they were in force after a change. Restoring "
        "one writes a new version: nothing is taken out of the list."
    )


def version_page(one: PolicyVersion, told: Comparison | None, *, is_newest: bool) -> Page:
    """One version, what it changed, its texts, and the form that puts it in force again."""
    paragraphs = (f"{clean(one.what, WIDEST)}. Why: {clean(one.reason, WIDEST)}",)
    return Page(
        title="Version",
        here="settings",
        headline=f"Version {one.version} of the policy",
        day=None,
        paragraphs=(*paragraphs, Inner("All versions", "settings", "versions")),
        facts=_version_facts(one),
        facts_assets=VERSIONS,
        panels=() if told is None else comparison_panels(told),
        is_dated=False,
        template="settings_version.html.j2",
        extra={
            "number": one.version,
            "files": list(one.files.items()),
            "diffs": [] if told is None else list(told.diffs.values()),
            "is_newest": is_newest,
            "restored": RESTORED,
        },
    )


def _version_facts(one: VersionFacts) -> tuple[Fact, ...]:
    origins = {
        "console": "a change",
        "files": "found in the folder",
        "restore": f"version {one.restored_from} restored",
    }
    return (
        Fact("Version", str(one.version), clean(one.what, WIDEST)),
        Fact("Written", f"{one.created_at:%Y-%m-%d %H:%M} UTC", f"by {clean(one.author, 80)}"),
        Fact("Origin", origins[one.origin]),
    )


def compare_page(before: PolicyVersion, after: PolicyVersion, told: Comparison) -> Page:
    """What differs between two versions."""
    headline = f"From version {before.version} to version {after.version}"
    return Page(
        title="Compare versions",
        here="settings",
        headline=headline if told.diffs else f"{headline}: no difference",
        day=None,
        paragraphs=(Inner("All versions", "settings", "versions"),),
        panels=comparison_panels(told),
        is_dated=False,
        template="settings_compare.html.j2",
        extra={"diffs": list(told.diffs.values())},
    )


def comparison_panels(told: Comparison) -> tuple[Panel, ...]:
    """Parameters and rows that differ."""
    panels = []
    if told.parameters:
        rows = [
            (Inner(one.name, "settings", "parameters", one.name), _cell(one.before), _cell(one.after))
            for one in told.parameters
        ]
        table = _open_table((*text("Parameter"), *numbers("Before", "After")), rows)
        panels.append(Panel(Section("changed-parameters", "Parameters", tables=(table,)), VERSIONS, None))
    if told.rows:
        lines = [(clean(one.name, WIDEST), f"{one.file} {one.path}", one.what) for one in told.rows]
        table = _open_table(text("Row", "List", "What became of it"), lines)
        panels.append(Panel(Section("changed-rows", "Rows of lists", tables=(table,)), VERSIONS, None))
    return tuple(panels)
