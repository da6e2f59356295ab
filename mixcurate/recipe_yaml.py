"""The YAML of recipes: a safe loader that keeps lines and bounds, and what stopped it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import Any

import yaml

from mixcurate.errors import RecipeError
from mixcurate.recipe_messages import short

#: A recipe is a page of text; these only stop files that are something else, or hostile.
MAX_BYTES = 1 << 20
MAX_NODES = 100_000
_NUMBER_TAG = "tag:mixcurate,2025:number"
_NUMBER = re.compile(r"^[+-]?\d+(\.\d*)?[eE][+-]?\d+$")
_YAML = "tag:yaml.org,2002:"
_MERGE_TAG = f"{_YAML}merge"
#: No key of a recipe is a date, so `2024-05-01` stays text; so does `=`.
_UNREAD_TAGS = {f"{_YAML}timestamp", f"{_YAML}value"}
_SCALAR_TAGS = {
    _NUMBER_TAG,
    *(f"{_YAML}{name}" for name in ("null", "bool", "int", "float", "str")),
}
#: What usually helps, by a part of the YAML parser's message.
_SYNTAX_HINTS = {
    r"'\t'": "indent with spaces, not tabs",
    "alphabetic or numeric": "quote text that begins with * or &",
    "undefined alias": "quote text that begins with *",
    "mapping values are not allowed": "quote text that contains ': ', and check the indentation",
}


class RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that a recipe may not be."""


class Loader(yaml.SafeLoader):
    """The safe loader, with ``1e9`` as a number, dates as text, and a bound on expanded aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.expanded = 0
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, counting nodes as if aliases were written out."""
        before = self.expanded
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            size = self.sizes.get(id(node))
            if size is None:  # The anchored node is still being composed.
                raise RefusedError(problem="an alias inside its own anchor", problem_mark=mark)
            self.expanded += size
        else:
            self.expanded += 1
            self.sizes[id(node)] = self.expanded - before
        if self.expanded > MAX_NODES:
            problem = f"more than {MAX_NODES:,} values with aliases written out; not a recipe"
            raise RefusedError(problem=problem, problem_mark=mark)
        return node


class Dumper(yaml.SafeDumper):
    """The safe dumper that quotes text which ``Loader`` would take for a number."""


def _construct_number(loader: Loader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    number = float(text)
    # Decimal is exact where a float is not (1e23); huge exponents stay infinite floats.
    return int(Decimal(text)) if isfinite(number) and number.is_integer() else number


def _represent_text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    # Unquoted or in single quotes, PyYAML folds line ends such as U+0085 into spaces.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar(f"{_YAML}str", text, style)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in _UNREAD_TAGS]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _class in (Loader, Dumper):
    _class.add_implicit_resolver(_NUMBER_TAG, _NUMBER, list("+-0123456789"))
Loader.add_constructor(_NUMBER_TAG, _construct_number)
Dumper.add_representer(str, _represent_text)


def read_text(path: str) -> str:
    """The text of a recipe file; ``RecipeError`` when it cannot be one."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path.
        reason = getattr(error, "strerror", None) or error
        raise RecipeError([f"{path}: cannot be read: {reason}"]) from None
    if len(data) > MAX_BYTES:
        raise RecipeError([f"{path}: larger than 1 MiB; a recipe is a page of YAML"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # With a byte order mark `start` counts from behind it; the line is the same.
        line = data.count(b"\n", 0, error.start) + 1
        text = (
            f"{path}:{line}: not UTF-8 (byte 0x{error.object[error.start]:02x}); save it as UTF-8"
        )
        raise RecipeError([text]) from None


def syntax(error: Exception, text: str) -> tuple[str, str]:
    """``:line:column`` and reason of what stopped the YAML parser in ``text``."""
    if isinstance(error, RecursionError):
        return "", "nested too deeply; not a recipe"
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        place = f":{before.count(chr(10)) + 1}:{error.position - before.rfind(chr(10))}"
        return place, f"not valid YAML: the character U+{error.character:04X} may not be in it"
    if not isinstance(error, yaml.MarkedYAMLError):
        return "", f"not valid YAML: {short(str(error))}"
    mark = error.problem_mark or error.context_mark
    place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    reason = error.problem or error.context or "cannot be parsed"
    if reason.startswith("but ") and error.context:
        reason = f"{error.context}, {reason}"
    if isinstance(error, RefusedError):
        return place, reason
    hint = next((f"; {fix}" for part, fix in _SYNTAX_HINTS.items() if part in reason), "")
    return place, f"not valid YAML: {short(reason)}{hint}"


def scalar(loader: Loader, node: yaml.Node) -> tuple[Any, str]:
    """The value of a scalar and an empty reason, or the reason why it has none."""
    try:
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALAR_TAGS:
            return loader.construct_object(node), ""
        reason = f"the YAML type {node.tag.removeprefix(_YAML)!r} has no place here"
    except (ValueError, LookupError, ArithmeticError) as error:  # As in `!!int x`, `!!bool x`.
        reason = str(error)
    return None, short(reason)


def pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node, bool]]:
    """The pairs of a mapping, its own first, then those of its ``<<``."""
    yield from ((key, item, False) for key, item in node.value if key.tag != _MERGE_TAG)
    for key, item in node.value:
        if key.tag == _MERGE_TAG:
            for part in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                if not isinstance(part, yaml.MappingNode):
                    problem = "<< takes a mapping or a list of mappings"
                    raise RefusedError(problem=problem, problem_mark=key.start_mark)
                yield from ((k, v, True) for k, v, _ in pairs(part))
