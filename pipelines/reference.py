"""The recipe reference, made from the recipe classes: ``python -m pipelines.reference``."""

from __future__ import annotations

import json
import sys
from typing import Any

from mixcurate.recipe_file import recipe_schema


def reference() -> str:
    """``docs/recipe.md``: every key with its type, default and meaning."""
    schema: Any = recipe_schema()
    lines = [
        "# The recipe",
        "",
        "Made from the recipe classes by `python -m pipelines.reference > docs/recipe.md`.",
        "Paths are relative to the recipe's folder. `null` or an empty list switches a step off.",
    ]
    _section(lines, "", schema, schema["$defs"], 2)
    return "\n".join(lines) + "\n"


def _section(lines: list[str], prefix: str, node: Any, definitions: Any, depth: int) -> None:
    """A table of the keys of one mapping, then its inner mappings."""
    title = f"`{prefix}`" if prefix else "Top level"
    about = node.get("description", "").split("\n")[0]
    lines += ["", f"{'#' * depth} {title}", ""]
    if about:
        lines += [about, ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    inner: list[tuple[str, Any]] = []
    for key, value in node["properties"].items():
        found = _model(value, definitions)
        if found is not None:
            path = f"{prefix}.{key}" if prefix else key
            inner.append((path + ("[]" if value.get("type") == "array" else ""), found))
        required = key in node.get("required", [])
        default = "required" if required else f"`{_default(value)}`"
        meaning = " ".join(value.get("description", "").split()).replace("|", "\\|")
        lines.append(f"| `{key}` | {_type(value)} | {default} | {meaning} |")
    for path, model in inner:
        _section(lines, path, model, definitions, min(depth + 1, 4))


def _options(value: Any) -> list[Any]:
    return list(value.get("anyOf", [value]))


def _model(value: Any, definitions: Any) -> Any | None:
    """The mapping that a key holds, directly, as an item of a list, or as a value of a mapping."""
    for option in _options(value):
        for place in (option, option.get("items", {}), option.get("additionalProperties", {})):
            if isinstance(place, dict) and "$ref" in place:
                return definitions[place["$ref"].rsplit("/", 1)[-1]]
    return None


def _type(value: Any) -> str:
    names = []
    for option in _options(value):
        if "$ref" in option:
            names.append("mapping")
        elif "enum" in option:
            names.append(" \\| ".join(f"`{word}`" for word in option["enum"]))
        elif "const" in option:
            names.append(f"`{option['const']}`")
        else:
            kind = option.get("type", "any")
            names.append({"object": "mapping", "array": "list", "null": "null"}.get(kind, kind))
    return " or ".join(dict.fromkeys(names))


def _default(value: Any) -> str:
    default = value.get("default")
    if isinstance(default, dict):
        return "see below" if default else "{}"
    if isinstance(default, list):
        return str(default).replace("'", "")
    return str(default) if isinstance(default, str) else json.dumps(default)


if __name__ == "__main__":
    sys.stdout.write(reference())
