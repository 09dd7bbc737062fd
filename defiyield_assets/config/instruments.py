"""Reading instruments.yaml: the market part's instruments, checked against each other and against known calendars.

Lives here: `load_instruments`. Not here: the file's shape (files.py), what an instrument is (domain/prices).
"""

from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter

from defiyield_assets.config.files import InstrumentsFile
from defiyield_assets.config.reading import Source, listed, read_file, validate
from defiyield_assets.domain.prices.instruments import ALWAYS_OPEN, Instrument, MarketUniverse
from defiyield_assets.errors import ConfigurationError

NAME = "instruments.yaml"


def load_instruments(folder: Path | None = None) -> MarketUniverse:
    """The market part's instruments and the priority of their sources.

    `folder`: the user's configuration folder; its instruments.yaml replaces the shipped one. Raises ConfigurationError
    naming file, line, what is wrong and the nearest known name.
    """
    source = read_file(NAME, folder)
    content: InstrumentsFile = validate(source, TypeAdapter(InstrumentsFile))
    found = tuple(Instrument(**row.model_dump()) for row in content.instruments)
    problems = [*_repeated(found, source), *_unknown_calendars(found, source), *_unknown_benchmarks(found, source)]
    problems = problems or _benchmarks_of_other_days(found, source)
    problems += [
        f"{source.at(('source_priority',))}: source_priority lacks {kind!r}, which {NAME} lists; give its vendors"
        for kind in sorted({one.type for one in found} - set(content.source_priority))
    ]
    if problems:
        raise ConfigurationError(listed(problems))
    return MarketUniverse(found, {kind: tuple(names) for kind, names in content.source_priority.items()})


def _repeated(instruments: tuple[Instrument, ...], source: Source) -> list[str]:
    """An id, and a vendor's id, belong to one instrument."""
    found = []
    for field in ("instrument_id", "cmc_id", "coingecko_id", "alpha_vantage_symbol"):
        first: dict[object, int] = {}
        for index, one in enumerate(instruments):
            value = getattr(one, field)
            if value is None:
                continue
            before = first.setdefault(value, index)
            if before != index:
                found.append(
                    f"{source.at(('instruments', index))}: instruments[{index}] has the {field} {value} of "
                    f"instruments[{before}]; keep one"
                )
    return found


def _unknown_benchmarks(instruments: tuple[Instrument, ...], source: Source) -> list[str]:
    ids = [one.instrument_id for one in instruments]
    found = []
    for index, one in enumerate(instruments):
        if one.benchmark is not None and one.benchmark not in ids:
            near = get_close_matches(one.benchmark, ids, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "list it, or leave benchmark out"
            found.append(
                f"{source.at(('instruments', index, 'benchmark'))}: instruments[{index}].benchmark is "
                f"{one.benchmark!r}, which is not listed; {hint}"
            )
    return found


def _benchmarks_of_other_days(instruments: tuple[Instrument, ...], source: Source) -> list[str]:
    """A benchmark that is closed while the instrument trades leaves a null in every window, and so never a beta."""
    calendars = {one.instrument_id: one.calendar for one in instruments}
    found = []
    for index, one in enumerate(instruments):
        beside = calendars[one.benchmark] if one.benchmark is not None else ALWAYS_OPEN
        if beside != ALWAYS_OPEN and not _are_same(beside, one.calendar):
            found.append(
                f"{source.at(('instruments', index, 'benchmark'))}: instruments[{index}].benchmark {one.benchmark!r} "
                f"keeps the calendar {beside}, {one.instrument_id} {one.calendar}: its beta would have no value, since "
                f"their holidays differ; name a benchmark of {one.calendar}"
                f"{'' if one.calendar == ALWAYS_OPEN else ' or ' + ALWAYS_OPEN}, or leave benchmark out"
            )
    return found


def _are_same(first: str, second: str) -> bool:
    """Whether two names of calendars mean one, as XNAS and XNYS do."""
    if first == second or ALWAYS_OPEN in (first, second):
        return first == second
    from exchange_calendars import resolve_alias

    return bool(resolve_alias(first) == resolve_alias(second))


def _unknown_calendars(instruments: tuple[Instrument, ...], source: Source) -> list[str]:
    found = []
    for index, one in enumerate(instruments):
        if one.calendar != ALWAYS_OPEN and one.calendar not in _calendar_names():
            near = get_close_matches(one.calendar, _calendar_names(), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "24x7, or an exchange such as XNYS"
            found.append(
                f"{source.at(('instruments', index, 'calendar'))}: instruments[{index}].calendar is "
                f"{one.calendar!r}, which no calendar is called; {hint}"
            )
    return found


@lru_cache(maxsize=1)
def _calendar_names() -> tuple[str, ...]:
    """Exchanges that the calendar library knows."""
    from exchange_calendars import get_calendar_names

    return tuple(get_calendar_names())
