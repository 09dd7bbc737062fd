"""Changing one row of a YAML file's list or one value, with everything else of the file left as it is, comments too.

Lives here: adding a row to a list, ending a row on a day, another value of a key, and the proof that nothing else
changed. Not here: which lists there are and what a row means (changes.py, files.py), whether the result is a right
configuration (loader.py), writing files.

A file is edited as text, where the parser says that its rows stand. The changed text is parsed again and has to hold
exactly what was wanted; a file that is written so that this fails is refused, never guessed at.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import date
from typing import Any

import yaml

from defiyield_assets.errors import ConfigurationError

LONGEST_COMMENT = 300
SET_MARK = "set "
"""How the comment above a value begins that `set_value` wrote: the next one takes its place."""
_HINT = "change it in an editor: `defiyield config edit lists --file {file} --reason …`"
Row = Mapping[str, Any]


def add_row(text: str, key: str, row: Row, comment: str, file: str) -> str:
    """The text with one more row at the end of the list `key`, a comment above it."""
    data, root = _parsed(text, file)
    wanted = deepcopy(data)
    if not isinstance(wanted.get(key), (list, type(None))):
        raise ConfigurationError(f"{file}: {key} is no list; {_HINT.format(file=file)}")
    wanted[key] = [*(wanted.get(key) or []), dict(row)]
    lines = [f"# {one_line(comment)}", f"- {_flow(row)}"]
    node = _value(root, key)
    if node is None or _is_null(node):
        changed = _with_new_key(text, root, key, lines)
    elif not isinstance(node, yaml.SequenceNode):
        raise ConfigurationError(f"{file}: {key} is no list; {_HINT.format(file=file)}")
    elif node.flow_style and node.value:
        changed = _into_flow(text, node, _flow(row), f"# {one_line(comment)}")
    elif node.flow_style:
        changed = _instead_of_empty(text, root, key, node, lines)
    else:
        place, indent = _end_of_line(text, _last(node)), " " * node.start_mark.column
        changed = _insert(text, place, [f"{indent}{line}" for line in lines])
    return _proven(changed, wanted, file)


def add_entry(text: str, key: str, name: str, value: str, *, comment: str, file: str) -> str:
    """The text with one more `name: value` at the end of the mapping `key`, a comment above it."""
    data, root = _parsed(text, file)
    wanted = deepcopy(data)
    if not isinstance(wanted.get(key), (dict, type(None))):
        raise ConfigurationError(f"{file}: {key} is no mapping; {_HINT.format(file=file)}")
    wanted[key] = {**(wanted.get(key) or {}), name: value}
    lines = [f"# {one_line(comment)}", f"{_scalar(name)}: {_scalar(value)}"]
    node = _value(root, key)
    if node is None or _is_null(node):
        changed = _with_new_key(text, root, key, lines)
    elif not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{file}: {key} is no mapping; {_HINT.format(file=file)}")
    elif node.flow_style and node.value:
        changed = _into_flow(text, node, lines[1], lines[0])
    elif node.flow_style:
        changed = _instead_of_empty(text, root, key, node, lines)
    else:
        place, indent = _end_of_line(text, _last(node)), " " * node.start_mark.column
        changed = _insert(text, place, [f"{indent}{line}" for line in lines])
    return _proven(changed, wanted, file)


def end_row(text: str, key: str, index: int, *, field: str, day: date, comment: str, file: str) -> str:
    """The text in which row `index` of the list `key` ends: its `field` says the day, a comment stands above it.

    A row that is one word, such as a slug, is written out as `{slug: …}`.
    """
    data, root = _parsed(text, file)
    wanted = deepcopy(data)
    old = wanted[key][index]
    wanted[key][index] = {"slug": old, field: day} if isinstance(old, str) else {**old, field: day}
    node = _value(root, key)
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigurationError(f"{file}: {key} is no list; {_HINT.format(file=file)}")
    row = node.value[index]
    if isinstance(row, yaml.ScalarNode):
        end, told = row.end_mark.index, _flow({"slug": old, field: day})
        changed = text[: row.start_mark.index] + told + text[end:]
    else:
        changed = _with_field(text, row, field, day)
    column = row.start_mark.column if node.flow_style else node.start_mark.column
    start = changed.rfind("\n", 0, row.start_mark.index) + 1
    changed = f"{changed[:start]}{' ' * (0 if node.flow_style else column)}# {one_line(comment)}\n{changed[start:]}"
    return _proven(changed, wanted, file)


def comment_out_entry(text: str, key: str, name: str, comment: str, file: str) -> str:
    """The text in which the line `name: …` of the mapping `key` has become a comment: such an entry has no end."""
    data, root = _parsed(text, file)
    wanted = deepcopy(data)
    del wanted[key][name]
    node = _value(root, key)
    found = [pair for pair in node.value if pair[0].value == name] if isinstance(node, yaml.MappingNode) else []
    if not found or node is None or node.flow_style:
        raise ConfigurationError(f"{file}: {key} is written so that one entry cannot be cut; {_HINT.format(file=file)}")
    name_node, value = found[0]
    return _commented(
        text,
        name_node.start_mark.index,
        value,
        wanted,
        key=key,
        key_end=_key_end(root, key),
        comment=comment,
        file=file,
    )


def comment_out_row(text: str, key: str, index: int, comment: str, file: str) -> str:
    """The text in which row `index` of the list `key` has become a comment: such a row has no end."""
    data, root = _parsed(text, file)
    wanted = deepcopy(data)
    del wanted[key][index]
    node = _value(root, key)
    if not isinstance(node, yaml.SequenceNode) or node.flow_style:
        raise ConfigurationError(f"{file}: {key} is written so that one row cannot be cut; {_HINT.format(file=file)}")
    row = node.value[index]
    return _commented(
        text, row.start_mark.index, row, wanted, key=key, key_end=_key_end(root, key), comment=comment, file=file
    )


def set_value(text: str, path: Sequence[str], value: Any, comment: str, file: str) -> str:
    """The text in which the key that `path` leads to (mappings only) has the value, a comment above it.

    A key that is not there yet is added at the end of its mapping. A value that stands there already changes nothing; a
    list that holds comments is refused, since they would be lost. `comment` begins with `SET_MARK`, and takes the place
    of an earlier one of that kind in the line above.
    """
    data, root = _parsed(text, file)
    wanted, is_other = _with_value(data, path, value, file)
    if not is_other:
        return text
    node, depth = _deepest(root, path)
    line = f"# {one_line(comment)}"
    if depth == len(path):
        changed = _with_other_value(text, root, path, node, told=_scalar(value), line=line, file=file)
    elif (null := _value(node, path[depth])) is not None:
        told, path = _nested(path[depth + 1 :], value), path[: depth + 1]
        changed = _with_other_value(text, root, path, null, told=told, line=line, file=file)
    else:
        told = f"{_scalar(path[depth])}: {_nested(path[depth + 1 :], value)}"
        changed = _with_entry(text, root, path[:depth], node, lines=[line, told], file=file)
    return _proven(changed, wanted, file)


def one_line(text: str) -> str:
    """Words as they may stand in a comment: one line, no control characters, not endless."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:LONGEST_COMMENT]


def _parsed(text: str, file: str) -> tuple[dict[str, Any], yaml.Node | None]:
    try:
        data, root = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"{file}: cannot be read as YAML: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"{file}: is nested too deeply to be a configuration") from None
    if data is None:
        return {}, None
    if not isinstance(data, dict) or not isinstance(root, yaml.MappingNode):
        raise ConfigurationError(f"{file}: holds no keys; {_HINT.format(file=file)}")
    return data, root


def _with_value(data: dict[str, Any], path: Sequence[str], value: Any, file: str) -> tuple[dict[str, Any], bool]:
    """A copy of the data in which the key at `path` holds the value, and whether it held another one."""
    wanted = deepcopy(data)
    place: Any = wanted
    for key in path[:-1]:
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if not isinstance(place, dict):
            raise ConfigurationError(f"{file}: {key} is no mapping; {_HINT.format(file=file)}")
    is_same = path[-1] in place and place[path[-1]] == value and type(place[path[-1]]) is type(value)
    place[path[-1]] = value
    return wanted, not is_same


def _deepest(root: yaml.Node | None, path: Sequence[str]) -> tuple[Any, int]:
    """The node that the longest known part of `path` leads to, and how many keys that are; null counts as unknown."""
    node: Any = root
    for depth, key in enumerate(path):
        inner = _value(node, key)
        if inner is None or (_is_null(inner) and depth < len(path) - 1):
            return node, depth
        node = inner
    return node, len(path)


def _nested(path: Sequence[str], value: Any) -> str:
    """`{a: {b: 1}}` for (a, b) and 1."""
    told = _scalar(value)
    for key in reversed(path):
        told = f"{{{_scalar(key)}: {told}}}"
    return told


def _with_other_value(
    text: str, root: yaml.Node | None, path: Sequence[str], node: Any, *, told: str, line: str, file: str
) -> str:
    """The value of a key that is there, replaced in its place."""
    parent, _ = _deepest(root, path[:-1])
    start, end = int(node.start_mark.index), _last(node)
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        piece, changed = text[start:end], text[:start] + told + text[end:]
    else:  # a block list becomes one line behind its key
        first = text.rfind("\n", 0, start) + 1
        piece, colon = text[first:end], text.index(":", _key_end(parent, path[-1]))
        rest = text[_end_of_line(text, end) :]
        changed = f"{text[: colon + 1]} {told}{text[colon + 1 : first]}{rest}"
    if "#" in piece and not isinstance(node, yaml.ScalarNode):
        raise ConfigurationError(f"{file}: comments inside {path[-1]} would be lost; {_HINT.format(file=file)}")
    if _is_null(node) and start == end:  # `key:` without anything
        changed = f"{text[:start]} {told}{text[end:]}"
    return _with_line_above(changed, _key_start(parent, path[-1]), line, is_flow=bool(parent.flow_style))


def _with_line_above(text: str, place: int, line: str, *, is_flow: bool) -> str:
    """A comment above the line of `place`, instead of an earlier one that `set_value` wrote."""
    start = text.rfind("\n", 0, place) + 1
    indent = "" if is_flow else " " * (place - start)
    before = text[:start]
    above = before.rfind("\n", 0, max(len(before) - 1, 0)) + 1
    if before[above:].lstrip().startswith(f"# {SET_MARK}"):
        before = before[:above]
    return f"{before}{indent}{line}\n{text[start:]}"


def _with_entry(
    text: str, root: yaml.Node | None, path: Sequence[str], node: Any, *, lines: Sequence[str], file: str
) -> str:
    """One more `name: value` at the end of the mapping that `path` leads to."""
    if not path:
        return _insert(text, len(text), lines)
    parent, _ = _deepest(root, path[:-1])
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{file}: {path[-1]} is no mapping; {_HINT.format(file=file)}")
    if node.flow_style and node.value:
        return _into_flow(text, node, lines[1], lines[0])
    if node.flow_style:
        return _instead_of_empty(text, parent, path[-1], node, lines)
    place, indent = _end_of_line(text, _last(node)), " " * node.start_mark.column
    return _insert(text, place, [f"{indent}{line}" for line in lines])


def _key_start(root: yaml.Node | None, key: str) -> int:
    """Where the name of a key begins."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((int(name.start_mark.index) for name, _ in pairs if name.value == key), 0)


def _value(root: yaml.Node | None, key: str) -> Any:
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _key_end(root: yaml.Node | None, key: str) -> int:
    """Where the name of a key ends."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((int(name.end_mark.index) for name, _ in pairs if name.value == key), 0)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _last(node: yaml.Node) -> int:
    """Where the last content of a node ends: a block's own end stands behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False) or not node.value:
        return int(node.end_mark.index)
    inner = node.value[-1]
    return _last(inner[1] if isinstance(inner, tuple) else inner)


def _end_of_line(text: str, place: int) -> int:
    """The index behind the line that holds the character before `place`."""
    found = text.find("\n", max(place - 1, 0))
    return len(text) if found < 0 else found + 1


def _insert(text: str, place: int, lines: Sequence[str]) -> str:
    before = text[:place]
    if before and not before.endswith("\n"):
        before += "\n"
    return before + "".join(f"{line}\n" for line in lines) + text[place:]


def _with_new_key(text: str, root: yaml.Node | None, key: str, lines: Sequence[str]) -> str:
    """A key that the file has not yet, or that holds nothing."""
    if root is not None and _value(root, key) is not None:
        name = next(name for name, _ in root.value if name.value == key)
        return _insert(text, _end_of_line(text, name.end_mark.index), [f"  {line}" for line in lines])
    return _insert(text, len(text), [f"{key}:", *(f"  {line}" for line in lines)])


def _instead_of_empty(text: str, root: yaml.Node | None, key: str, node: yaml.Node, lines: Sequence[str]) -> str:
    """`key: []` becomes a block; what stands behind it in the line stays there."""
    name = next(name for name, _ in root.value if name.value == key)  # type: ignore[union-attr]
    head = text[: node.start_mark.index].rstrip(" ") + text[node.end_mark.index :]
    indent = " " * (name.start_mark.column + 2)
    return _insert(head, _end_of_line(head, name.end_mark.index + 1), [f"{indent}{line}" for line in lines])


def _into_flow(text: str, node: yaml.Node, told: str, comment: str) -> str:
    """`[a, b]` gets one more; the comment stands above the line."""
    end = int(node.end_mark.index) - 1
    inner = text[:end].rstrip()
    joined = inner + (" " if inner.endswith(",") else ", ") + told + text[end:]
    start = text.rfind("\n", 0, node.start_mark.index) + 1
    return f"{joined[:start]}{comment}\n{joined[start:]}"


def _with_field(text: str, row: Any, field: str, day: date) -> str:
    """A row that is a mapping with one field more, or with another value of it."""
    for name, value in row.value:
        if name.value == field:
            return text[: value.start_mark.index] + day.isoformat() + text[value.end_mark.index :]
    if row.flow_style:
        end = int(row.end_mark.index) - 1
        inner = text[:end].rstrip()
        return inner + ("" if inner.endswith(("{", ",")) else ",") + f" {field}: {day}" + text[end:]
    line = " " * row.start_mark.column + f"{field}: {day}"
    return _insert(text, _end_of_line(text, _last(row)), [line])


def _commented(
    text: str, start: int, value: yaml.Node, wanted: Any, *, key: str, key_end: int, comment: str, file: str
) -> str:
    first, end = text.rfind("\n", 0, start) + 1, _end_of_line(text, _last(value))
    indent = text[first:start][: len(text[first:start]) - len(text[first:start].lstrip())]
    lines = text[first:end].splitlines()
    told = f"{indent}# {one_line(comment)}\n" + "".join(f"{indent}# {line[len(indent) :]}\n" for line in lines)
    changed = text[:first] + told + text[end:]
    if not wanted[key]:  # without rows the key would hold nothing, which the loader does not take
        colon = text.index(":", key_end)
        changed = f"{changed[: colon + 1]} {'[]' if isinstance(wanted[key], list) else '{}'}{changed[colon + 1 :]}"
    return _proven(changed, wanted, file)


def _flow(row: Row) -> str:
    """A row on one line."""
    return "{" + ", ".join(f"{name}: {_scalar(value)}" for name, value in row.items()) + "}"


def _scalar(value: Any) -> str:
    """One value as YAML; texts that might be read as anything else are quoted."""
    told: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=False)
    return told.removesuffix("\n").removesuffix("...").strip()


def _proven(changed: str, wanted: Any, file: str) -> str:
    """The text, when it holds exactly what was wanted."""
    try:
        is_proven = yaml.safe_load(changed) == wanted
    except (yaml.YAMLError, ValueError, RecursionError):  # RecursionError: an alias that holds itself
        is_proven = False
    if not is_proven:
        raise ConfigurationError(
            f"{file}: is written so that the row cannot be changed alone; {_HINT.format(file=file)}"
        )
    return changed
