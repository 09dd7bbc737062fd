"""Reading csv_sources.yaml: what is known of files of bars, checked against intervals and time zones.

Lives here: `load_csv_sources`. Not here: the file's shape (files.py), what a source is (domain/prices/csv_sources.py).
"""

from pathlib import Path

from pydantic import TypeAdapter

from defiyield_assets.config.files import CsvSourcesFile
from defiyield_assets.config.reading import Source, listed, read_file, validate
from defiyield_assets.domain.prices.clocks import clock_of
from defiyield_assets.domain.prices.csv_sources import CsvSource
from defiyield_assets.domain.prices.intraday import minutes_of
from defiyield_assets.errors import ConfigurationError

NAME = "csv_sources.yaml"


def load_csv_sources(folder: Path | None = None) -> tuple[CsvSource, ...]:
    """The sources in the order of the file.

    `folder`: the user's configuration folder; its csv_sources.yaml replaces the shipped one. Raises ConfigurationError
    naming file, line, what is wrong and what would be right.
    """
    source = read_file(NAME, folder)
    content: CsvSourcesFile = validate(source, TypeAdapter(CsvSourcesFile))
    found = tuple(CsvSource(**row.model_dump()) for row in content.sources)
    problems = [*_repeated(found, source), *_unreadable(found, source)]
    if problems:
        raise ConfigurationError(listed(problems))
    return found


def _repeated(sources: tuple[CsvSource, ...], source: Source) -> list[str]:
    names = [one.name for one in sources]
    return [
        f"{source.at(('sources', index))}: sources[{index}].name {one.name!r} is that of sources"
        f"[{names.index(one.name)}]; a name belongs to one source"
        for index, one in enumerate(sources)
        if names.index(one.name) != index
    ]


def _unreadable(sources: tuple[CsvSource, ...], source: Source) -> list[str]:
    found = []
    for index, one in enumerate(sources):
        for key, read in (("timezone", clock_of), ("interval", minutes_of)):
            text = getattr(one, key)
            try:
                if text is not None:
                    read(text)
            except ValueError as error:
                found.append(f"{source.at(('sources', index, key))}: sources[{index}].{key}: {error}")
    return found
