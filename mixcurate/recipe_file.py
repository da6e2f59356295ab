"""Recipe files: YAML text to a checked ``Recipe`` and back, with a line for every problem."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from importlib import resources
from math import isfinite
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mixcurate.errors import RecipeError, nearest
from mixcurate.recipe import Recipe

#: A recipe is a page of text; these only stop files that are something else, or hostile.
MAX_BYTES = 1 << 20
MAX_NODES = 100_000

#: Keys and list positions from the top of the recipe.
KeyPath = tuple[str | int, ...]

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

#: What a value had to be, by pydantic's type of error; ``{...}`` comes from the error's context.
_WANTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "byte_size": "a size such as 256MB or 1GiB",
    "byte_size_unit": "a size such as 256MB or 1GiB",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
}

_BOOLEAN = "YAML reads a bare no/yes/on/off as true/false"

#: What usually helps, by a part of the YAML parser's message.
_SYNTAX_HINTS = {
    r"'\t'": "indent with spaces, not tabs",
    "alphabetic or numeric": "quote text that begins with * or &",
    "undefined alias": "quote text that begins with *",
    "mapping values are not allowed": "quote text that contains ': ', and check the indentation",
}


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a recipe may not be."""


class _Loader(yaml.SafeLoader):
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
                raise _Refused(problem="an alias inside its own anchor", problem_mark=mark)
            self.expanded += size
        else:
            self.expanded += 1
            self.sizes[id(node)] = self.expanded - before
        if self.expanded > MAX_NODES:
            problem = f"more than {MAX_NODES:,} values with aliases written out; not a recipe"
            raise _Refused(problem=problem, problem_mark=mark)
        return node


class _Dumper(yaml.SafeDumper):
    """The safe dumper that quotes text which ``_Loader`` would take for a number."""


def _construct_number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    number = float(text)
    # Decimal is exact where a float is not (1e23); huge exponents stay infinite floats.
    return int(Decimal(text)) if isfinite(number) and number.is_integer() else number


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Unquoted or in single quotes, PyYAML folds line ends such as U+0085 into spaces.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar(f"{_YAML}str", text, style)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in _UNREAD_TAGS]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(_NUMBER_TAG, _NUMBER, list("+-0123456789"))
_Loader.add_constructor(_NUMBER_TAG, _construct_number)
_Dumper.add_representer(str, _represent_text)


class _Origin(NamedTuple):
    """Where a part of the recipe comes from; problems are sorted by it."""

    order: int
    """0 for the file, then 1 for the first ``--set``, and so on."""
    line: int
    label: str
    path: KeyPath | None = None
    """What a ``--set`` names."""


class _Draft:
    """The plain value of a recipe as it is put together, and the origin of each part."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.value: Any = None
        self.origins: dict[KeyPath, _Origin] = {(): self.at(1)}
        self.problems: list[tuple[_Origin, str]] = []
        self.spoiled: set[KeyPath] = set()

    def at(self, line: int) -> _Origin:
        """The origin of a line of the file."""
        return _Origin(0, line, f"{self.file}:{line}")

    def origin(self, path: KeyPath, *, inside: bool = False) -> _Origin:
        """The origin of the innermost known part around ``path``, or the last ``--set`` inside."""
        if inside and (below := [o for p, o in self.origins.items() if p[: len(path)] == path]):
            last = max(below, key=lambda origin: origin.order)
            if last.order:
                return last
        return next(self.origins[p] for p in _prefixes(path) if p in self.origins)

    def report(self, origin: _Origin, path: KeyPath, text: str) -> None:
        """Note a problem; a ``--set`` need not repeat the path that it names."""
        where = "" if path in {(), origin.path} else f"{_dotted(path)}: "
        self.problems.append((origin, f"{origin.label}: {where}{text}"))

    def read(self, text: str) -> None:
        """Take the text of the file."""
        loader = _Loader(text)
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            self.value = self.build(loader, node, (), None)
        else:
            what = "the file is empty" if node is None else "the top level is not a mapping"
            text = f"{what}; a recipe is lines of 'key: value' (`mixcurate init DIR` writes one)"
            self.report(self.at(1 if node is None else node.start_mark.line + 1), (), text)

    def build(
        self, loader: _Loader, node: yaml.Node, path: KeyPath, override: _Origin | None
    ) -> Any:
        """The plain value of ``node``; its parts come from their lines, or from ``override``."""
        origin = override or self.at(node.start_mark.line + 1)
        self.origins.setdefault(path, origin)
        if isinstance(node, yaml.SequenceNode) and node.tag == loader.DEFAULT_SEQUENCE_TAG:
            items = enumerate(node.value)
            return [self.build(loader, item, (*path, i), override) for i, item in items]
        if isinstance(node, yaml.MappingNode) and node.tag == loader.DEFAULT_MAPPING_TAG:
            return self._mapping(loader, node, path, override)
        value, reason = _scalar(loader, node)
        if reason:
            self.report(origin, path, f"cannot be read: {reason}")
            self.spoiled.add(path)
        return value

    def _mapping(
        self, loader: _Loader, node: yaml.MappingNode, path: KeyPath, override: _Origin | None
    ) -> dict[str | int, Any]:
        value: dict[str | int, Any] = {}
        lines: dict[str | int, int] = {}
        for key_node, item, merged in _pairs(node):
            line = key_node.start_mark.line + 1
            origin = override or self.at(line)
            key, reason = _scalar(loader, key_node)
            if reason:
                self.report(origin, path, f"a key cannot be read: {reason}")
            elif isinstance(key, bool) or not isinstance(key, str | int):
                text = f"a key must be text or a whole number, got {_show(key)}; quote it"
                self.report(origin, path, text)
            elif key not in lines:
                lines[key] = line
                self.origins[(*path, key)] = origin
                value[key] = self.build(loader, item, (*path, key), override)
            elif not merged:  # What `<<` brings in gives way to the mapping's own keys.
                text = f"given twice, first on line {lines[key]}; remove one"
                self.report(origin, (*path, key), text)
        return value

    def override(self, order: int, text: str) -> None:
        """Apply one ``--set``."""
        dotted, equals, value = text.partition("=")
        names = dotted.strip().split(".")
        keys = tuple(int(n) if re.fullmatch(r"0|[1-9]\d{0,8}", n) else n for n in names)
        origin = _Origin(order, 0, f"--set {_short(text)}", keys)
        if not equals or "" in names:
            self.report(origin, (), "not of the form key=value, such as mixture.max_epochs=2")
            return
        try:
            loader = _Loader(value)
            node = loader.get_single_node()
            if (place := self._place(keys, origin)) is None:
                return
            box, path = place
            for known in [known for known in self.origins if known[: len(path)] == path]:
                del self.origins[known]
            origin = self.origins[path] = origin._replace(path=path)
            _put(box, path[-1], node and self.build(loader, node, path, origin))
        except (yaml.YAMLError, RecursionError) as error:
            self.report(origin, (), _syntax(error, value)[1])

    def _place(self, keys: KeyPath, origin: _Origin) -> tuple[Any, KeyPath] | None:
        """The container that ``keys`` end in, made where absent, and the keys as it spells them."""
        box = self.value
        path: KeyPath = ()
        for depth, name in enumerate(keys):
            key = name
            if isinstance(box, dict):
                if name not in box and str(name) in box:
                    key = str(name)
                inner = box.get(key)
            elif isinstance(box, list) and isinstance(key, int) and key <= len(box):
                inner = box[key] if key < len(box) else None
            else:
                self.report(origin, path, f"{_show(box)} has no {_short(str(key))!r} inside")
                return None
            path = (*path, key)
            if depth + 1 == len(keys):
                return box, path
            if inner is None:
                inner = [] if any(get_origin(t) is list for t in _types_at(path)) else {}
                _put(box, key, inner)
                self.origins[path] = origin
            box = inner
        return None

    def check(self) -> Recipe:
        """The recipe, or all problems in the order of their lines."""
        self._check_booleans()
        recipe = None
        try:
            recipe = Recipe.model_validate(self.value)
        except ValidationError as error:
            self._explain(error.errors(include_url=False))
        if recipe is None or self.problems:
            self.problems.sort(key=lambda problem: problem[0][:2])
            raise RecipeError([text for _, text in self.problems])
        return recipe

    def _check_booleans(self) -> None:
        """Report ``k: yes``, which pydantic would read as 1."""
        for path, value in _leaves(self.value, ()):
            if isinstance(value, bool):
                kinds = [t for t in _types_at(path) if isinstance(t, type)]
                if bool not in kinds and any(issubclass(t, int | float) for t in kinds):
                    text = f"must be a number, got {_show(value)}: {_BOOLEAN}"
                    self.report(self.origin(path), path, text)
                    self.spoiled.add(path)

    def _explain(self, errors: list[ErrorDetails]) -> None:
        """Turn pydantic's errors into one problem per offender."""
        groups: dict[KeyPath, list[tuple[ErrorDetails, bool]]] = {}
        for error in errors:
            path, branch = _real_path(self.value, error)
            groups.setdefault(path, []).append((error, branch))
        for path, group in groups.items():
            inner = any(p != path and p[: len(path)] == path for p in groups)
            if inner and all(branch for _, branch in group):
                continue  # The other members of a union say no more than the one that came near.
            whole = group[0][0]["type"] == "value_error"
            spoiled = any(p in self.spoiled for p in _prefixes(path))
            if spoiled or (whole and any(s[: len(path)] == path for s in self.spoiled)):
                continue  # Reported already, and what was put in its place is not the user's.
            origin = self.origin(path, inside=whole)
            self.report(origin, path, _message(path, [error for error, _ in group]))


def load_recipe(path: str, overrides: Sequence[str] = ()) -> Recipe:
    """The checked recipe in the YAML file ``path``, with ``key.sub=value`` overrides applied.

    Raises one ``RecipeError`` with every problem, each on a line that names the file and line, or
    the ``--set``, that caused it.
    """
    draft = _Draft(path)
    try:
        draft.read(text := _read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        place, reason = _syntax(error, text)
        raise RecipeError([f"{path}{place}: {reason}"]) from None
    if isinstance(draft.value, dict):
        for order, text in enumerate(overrides, 1):
            draft.override(order, text)
        return draft.check()
    raise RecipeError([text for _, text in draft.problems])


def dump_recipe(recipe: Recipe) -> str:
    """YAML of the recipe with every default filled in; ``load_recipe`` reads it back as equal."""
    value = _plain(recipe.model_dump())
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def recipe_schema() -> dict[str, object]:
    """JSON schema of a recipe, for editors that check YAML while it is typed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(),
        "title": "mixcurate recipe",
    }


def starter_recipe(name: str) -> str:
    """A commented recipe for the corpus ``name`` that is ready to be edited."""
    pattern = next(m.pattern for m in Recipe.model_fields["name"].metadata if hasattr(m, "pattern"))
    if not re.fullmatch(pattern, name):
        raise RecipeError([f"the name must be text that matches {pattern}, got {_show(name)}"])
    text = resources.files("mixcurate").joinpath("starter_recipe.yaml").read_text("utf-8")
    return text.replace("@NAME@", name)


def _read_text(path: str) -> str:
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


def _syntax(error: Exception, text: str) -> tuple[str, str]:
    """``:line:column`` and reason of what stopped the YAML parser in ``text``."""
    if isinstance(error, RecursionError):
        return "", "nested too deeply; not a recipe"
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        place = f":{before.count(chr(10)) + 1}:{error.position - before.rfind(chr(10))}"
        return place, f"not valid YAML: the character U+{error.character:04X} may not be in it"
    if not isinstance(error, yaml.MarkedYAMLError):
        return "", f"not valid YAML: {_short(str(error))}"
    mark = error.problem_mark or error.context_mark
    place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    reason = error.problem or error.context or "cannot be parsed"
    if reason.startswith("but ") and error.context:
        reason = f"{error.context}, {reason}"
    if isinstance(error, _Refused):
        return place, reason
    hint = next((f"; {fix}" for part, fix in _SYNTAX_HINTS.items() if part in reason), "")
    return place, f"not valid YAML: {_short(reason)}{hint}"


def _scalar(loader: _Loader, node: yaml.Node) -> tuple[Any, str]:
    """The value of a scalar and an empty reason, or the reason why it has none."""
    try:
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALAR_TAGS:
            return loader.construct_object(node), ""
        reason = f"the YAML type {node.tag.removeprefix(_YAML)!r} has no place here"
    except (ValueError, LookupError, ArithmeticError) as error:  # As in `!!int x`, `!!bool x`.
        reason = str(error)
    return None, _short(reason)


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node, bool]]:
    """The pairs of a mapping, its own first, then those of its ``<<``."""
    yield from ((key, item, False) for key, item in node.value if key.tag != _MERGE_TAG)
    for key, item in node.value:
        if key.tag == _MERGE_TAG:
            for part in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                if not isinstance(part, yaml.MappingNode):
                    problem = "<< takes a mapping or a list of mappings"
                    raise _Refused(problem=problem, problem_mark=key.start_mark)
                yield from ((k, v, True) for k, v, _ in _pairs(part))


def _real_path(value: Any, error: ErrorDetails) -> tuple[KeyPath, bool]:
    """Where in ``value`` an error is, and whether pydantic was in one branch of a union.

    pydantic's locations also name branches (``int``, ``[key]``), which no reader wrote.
    """
    path: list[str | int] = []
    branch = False
    *outer, last = error["loc"] or ("",)
    for part in outer if error["type"] == "missing" else error["loc"]:
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
            path.append(part)
        else:
            branch = True
    return (*path, last) if error["type"] == "missing" else tuple(path), branch


def _message(path: KeyPath, errors: list[ErrorDetails]) -> str:
    """What is wrong at ``path``, and the fix, from all that pydantic said of it."""
    first = errors[0]
    kind, value = first["type"], first.get("input")
    if kind in {"extra_forbidden", "invalid_key"}:
        fields = [n for t in _types_at(path[:-1]) if _is_model(t) for n in t.model_fields]
        return f"unknown key; {nearest(str(path[-1]), fields)}"
    if kind == "missing":
        return "missing; the list is too short" if isinstance(path[-1], int) else "missing"
    if not all(error["type"] in _WANTED for error in errors):
        plain = (error["msg"].removeprefix("Value error, ") for error in errors)
        return "; or ".join(dict.fromkeys(plain)).replace("\n", " ")
    context = [{k: _show_bound(v) for k, v in e.get("ctx", {}).items()} for e in errors]
    wanted = [_WANTED[e["type"]].format(**ctx) for e, ctx in zip(errors, context, strict=True)]
    must = "the key must be" if "[key]" in first["loc"] else "must be"
    fix = _fix(path, {e["type"] for e in errors}, value)
    return f"{must} {' or '.join(dict.fromkeys(wanted))}, got {_show(value)}{fix}"


def _fix(path: KeyPath, kinds: set[str], value: Any) -> str:
    """What to write instead, where it can be told."""
    fix = ""
    if value is False and "literal_error" in kinds and type(None) in _types_at(path):
        fix = f"; write null to switch it off: {_BOOLEAN}"
    elif isinstance(value, bool) and kinds & {"string_type", "literal_error"}:
        fix = f"; quote it: {_BOOLEAN}"
    elif isinstance(value, int | float) and "string_type" in kinds:
        fix = "; quote it"
    elif value is None and "model_type" in kinds:
        fix = "; remove the key to take its defaults"
    elif isinstance(value, str) and "list_type" in kinds:
        fix = f"; write [{_short(value)}]"
    elif isinstance(value, str) and kinds & {"int_parsing", "float_parsing"}:
        fix = "; write it like 1_000_000 or 1e6"
    elif isinstance(value, str) and "literal_error" in kinds:
        words = [w for t in _types_at(path) if get_origin(t) is Literal for w in get_args(t)]
        near = nearest(value, [word for word in words if isinstance(word, str)])
        fix = f"; {near}" if near.startswith("did") else ""  # All words are listed already.
    return fix


def _types_at(path: KeyPath) -> list[Any]:
    """The types that a recipe allows at ``path``, unions taken apart."""
    kinds: list[Any] = [Recipe]
    for key in path:
        kinds = [inner for kind in kinds for inner in _types_inside(kind, key)]
    return kinds


def _types_inside(kind: Any, key: str | int) -> list[Any]:
    if _is_model(kind):
        field = kind.model_fields.get(key)
        return _alternatives(field.annotation) if field else []
    outer, inner = get_origin(kind), get_args(kind)
    if outer is tuple and Ellipsis not in inner:
        return _alternatives(inner[key]) if isinstance(key, int) and key < len(inner) else []
    if outer in {list, tuple}:
        return _alternatives(inner[0])
    return _alternatives(inner[1]) if outer is dict else []


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]


def _is_model(kind: Any) -> bool:
    return get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel)


def _put(box: Any, key: str | int, value: Any) -> None:
    if isinstance(box, list) and key == len(box):
        box.append(value)
    else:
        box[key] = value


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _prefixes(path: KeyPath) -> Iterator[KeyPath]:
    return (path[:length] for length in range(len(path), -1, -1))


def _plain(value: Any) -> Any:
    """``value`` of the types that YAML has: no tuples, no subclasses of int."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _dotted(path: KeyPath) -> str:
    return ".".join(_short(str(key)) for key in path)


def _short(text: str) -> str:
    """``text`` on one line of bounded length."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 80 else text[:77] + "..."


def _show(value: Any) -> str:
    """A value as a reader of YAML knows it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"'{_short(value)}'"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    huge = isinstance(value, int) and value.bit_length() > 256  # `str` refuses very long ones.
    return "a very large number" if huge else _short(str(value))


def _show_bound(value: Any) -> Any:
    whole = isinstance(value, float) and isfinite(value) and value.is_integer()
    return int(value) if whole else value
