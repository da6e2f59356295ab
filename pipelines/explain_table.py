"""What is known of one document, as text for a terminal: each step as the arithmetic it was."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

_WIDTH = 96

#: Stored and computed numbers agree if they differ by less than this share.
_CLOSE = 1e-5

Section = dict[str, Any]

#: Where the numbers of a document stand after ``explain``.
_STEPS = {
    "document": "ingest",
    "quality": "score",
    "cluster": "cluster",
    "diversity": "score",
    "weight": "score",
    "copies": "score",
    "plan": "plan",
    "corpus": "materialize",
}


def render(found: Section) -> str:
    """What ``explain`` found, in lines of text; no control character of a document is in them."""
    lines = [f"document {found['id']}", *_wrapped(found["verdict"])]
    shows: dict[str, Callable[[Any], Iterator[str]]] = {
        "rejected": _rejected,
        "document": _document,
        "signals": _signals,
        "quality": _quality,
        "cluster": _cluster,
        "diversity": _diversity,
        "weight": _weight,
        "copies": _copies,
        "plan": _plan,
        "corpus": _corpus,
    }
    for name, show in shows.items():
        if found[name]:
            title = "what dropped it" if name == "rejected" else name
            lines += ["", title, *show(found[name])]
        elif _STEPS.get(name) in found["waiting"]:
            lines += ["", name, f"  the stage {_STEPS[name]} has not run"]
    lines += [line for note in found["notes"] for line in ("", *_wrapped(f"note: {note}"))]
    return "\n".join(visible(line).rstrip() for line in lines)


def visible(text: str) -> str:
    """Text in which no character moves the cursor or turns the direction of what follows."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    plain = " ".join(visible(text).split())
    return textwrap.wrap(plain, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _number(value: float | None) -> str:
    """Six digits: enough to repeat the arithmetic by hand."""
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _fact(name: str, value: str) -> str:
    return f"  {name:<14}{value}"


def _stored(section: Section) -> str:
    """The number that the stage left, and whether it is the one of the arithmetic."""
    stored, computed = section["stored"], section["computed"]
    if computed is None:
        return f"(stored: {_number(stored)})"
    if abs(stored - computed) <= _CLOSE * max(abs(stored), abs(computed), 1e-12):
        return "(as stored)"
    return f"(STORED: {_number(stored)}; the files are of different runs)"


def _rejected(rows: list[Section]) -> Iterator[str]:
    for row in rows:
        yield from _wrapped(f"{row['stage']}: {row['reason']}")
        if row["detail"]:
            yield from _wrapped(row["detail"], "    ")
        yield from _wrapped(f"{row['source']}, {row['path']} at {row['position']:,}", "    ")
        if row["excerpt"]:
            yield from _wrapped(row["excerpt"], "    | ")


def _document(own: Section) -> Iterator[str]:
    for name in ("source", "path", "url", "licence"):
        if own[name] is not None:
            yield _fact(name, own[name])
    yield _fact("position", _number(own["position"]))
    yield _fact("language", f"{own['language']} ({_number(own['language_score'])})")
    yield _fact("size", f"{own['n_tokens']:,} tokens, {own['n_bytes']:,} bytes")
    yield from _wrapped(own["text"], "  | ")


def _signals(signals: Section) -> Iterator[str]:
    cells = [f"{name} {_number(value)}" for name, value in signals.items()]
    wide = max(len(cell) for cell in cells) + 3
    columns = max((_WIDTH - 2) // wide, 1)
    for start in range(0, len(cells), columns):
        yield "  " + "".join(cell.ljust(wide) for cell in cells[start : start + columns])


def _quality(section: Section) -> Iterator[str]:
    wide = max(len("dimension"), *(len(d["name"]) for d in section["dimensions"]))
    row = f"  {{:<{wide}}}{{:>11}}{{:>11}}{{:>11}}{{:>11}}{{:>9}}  {{}}"
    yield row.format("dimension", "value", "least", "most", "0 to 1", "weight", "from")
    for d in section["dimensions"]:
        numbers = [_number(d[name]) for name in ("value", "least", "most", "unit", "weight")]
        yield row.format(d["name"], *numbers, " ".join([d["origin"], d["source"]]))
    yield (
        f"  quality = {_number(section['total'])} / {_number(section['weights'])} = "
        f"{_number(section['computed'])} {_stored(section)}: sum of weight x (0 to 1), by weights"
    )


def _cluster(section: Section) -> Iterator[str]:
    if section["cluster"] < 0:
        yield "  none: its vector is of no use"
        return
    about, domain = section["of_cluster"], section["of_domain"]
    yield _fact("cluster", f"{section['cluster']}, {_number(about['n_documents'])} documents")
    yield _fact(
        "distance",
        f"{_number(section['distance'])} to its centroid; of the cluster's documents "
        f"{_number(about['mean_distance'])} ± {_number(about['std_distance'])}",
    )
    why = (
        "" if about["kept"] else f": {about['drop_reason']} ({about['drop_detail'] or 'no detail'})"
    )
    yield _fact("kept", ("yes" if about["kept"] else "no") + why)
    if domain is None:
        yield _fact("domain", "none: it is not in the pool")
        return
    yield _fact("domain", f"{section['domain']}, {domain['name']} ({domain['domain_id']})")
    yield _fact("", f"{_number(domain['n_documents'])} documents, {domain['n_tokens']:,} tokens")
    if domain["keywords"]:
        yield _fact("", ", ".join(domain["keywords"]))


def _diversity(section: Section) -> Iterator[str]:
    kind = {
        "cluster": "mean distance of the cluster's documents to its centroid",
        "distance": "its own distance to the centroid",
        "neighbours": "mean distance to its neighbours in the cluster",
    }[section["kind"]]
    yield _fact("cluster", f"{section['cluster']}, {section['n_documents']:,} documents")
    yield _fact("compactness", f"{_number(section['compactness'])}: {kind}")
    yield _fact("separation", f"{_number(section['separation'])} from other centroids")
    yield (
        f"  diversity = {_number(section['compactness'])} x {_number(section['separation'])} = "
        f"{_number(section['computed'])} {_stored(section)}"
    )


def _weight(section: Section) -> Iterator[str]:
    among = "its domain" if section["within"] == "domain" else "the pool"
    for name, sign in (("quality", "q"), ("diversity", "d")):
        unit = _number(section["units"][name])
        least, most = section["ranges"][name]
        value = section["values"][name]
        if section["normalise"] == "rank":
            yield f"  u_{sign} = {unit}: share of {among} that its {name} is above"
        elif most > least:
            yield (
                f"  u_{sign} = ({_number(value)} - {_number(least)}) / "
                f"({_number(most)} - {_number(least)}) = {unit}: {name} in {among}"
            )
        else:
            yield f"  u_{sign} = {unit}: all of {among} has the {name} {_number(least)}"
    alpha, units = section["alpha"], section["units"]
    yield (
        f"  p = {_number(alpha)} x {_number(units['diversity'])} + {_number(1 - alpha)} x "
        f"{_number(units['quality'])} = {_number(section['p'])}"
    )
    yield (
        f"  weight = exp(({_number(section['p'])} - 1) / {_number(section['tau'])}) / "
        f"{_number(section['mean'])} = {_number(section['computed'])} {_stored(section)}: "
        f"one on average"
    )


def _copies(section: Section) -> Iterator[str]:
    yield f"  {_expected(section)}"
    floor, rest, value = section["floor"], section["rest"], section["hash"]
    more = section["computed"] - floor
    if section["method"] == "gumbel":
        test = f"{_number(value)} {'<' if more else '>='} {_number(rest)}"
    else:
        test = f"{_number(value)} {'>=' if more else '<'} 1 - {_number(rest)}"
    yield f"  copies = {floor} + {more} = {section['computed']} {_stored(section)}: hash {test}"
    yield "  at the budget of the mixture, before its shares are met"


def _expected(section: Section) -> str:
    scale, weight = _number(section["scale"]), _number(section["weight"])
    cap = section["max_epochs"]
    bound = "" if cap is None else f", at most {_number(cap)}"
    shapes = {
        "samplemix": f"{scale} x {weight}",
        "soft_cap": f"log(1 + {_number(section['penalty'])} x {scale} x {weight}) / "
        f"{_number(section['penalty'])}",
        "gumbel": f"{section['whole']} + 1 - exp(-{scale} x {weight})",
    }
    return f"expected copies = {shapes[section['method']]}{bound} = {_number(section['expected'])}"


def _plan(section: Section) -> Iterator[str]:
    yield _fact("strategy", section["strategy"])
    if section["outside"] is not None:
        where = "it goes to the holdout" if section["held_out"] else "it is not drawn"
        yield _fact("outside", f"{section['outside']}: {where}")
        return
    cell, unit = section["cell"], section["by"][0] if len(section["by"]) == 1 else "cell"
    yield _fact(
        unit,
        f"{cell['name']}: {cell['share']:.4%} of the tokens, {cell['tokens']:,} drawn "
        f"for {cell['target_tokens']:,}, {_number(cell['epochs'])} epochs",
    )
    if section["method"] == "alike":
        yield f"  this strategy draws the documents of a {unit} alike: its weight is not used"
    if section["licence_factor"] != 1:
        yield f"  its licence has the factor {_number(section['licence_factor'])}: another hash"
    if preference := section.get("preference"):
        yield from _preference(preference)
    limits = section["thresholds"]
    for limit in limits:
        where = "" if len(limits) == 1 else f" in phase {limit['phase']}"
        which = "a copy with a key up to it is drawn"
        if limit.get("preference") is not None:
            which = f"copy {limit['copy']} is drawn from the preference "
            which += f"{_number(limit['preference'])} on"
        yield _fact("threshold", f"{_number(limit['key'])}: {which}{where}")
    for one in section["keys"]:
        verb = "drawn" if one["drawn"] else "not drawn"
        where = f" in phase {one['phase']}" if one["drawn"] and len(limits) > 1 else ""
        yield (
            f"  key of copy {one['copy']} = {_key(section, one)} = "
            f"{_number(one['key'])}: {verb}{where}"
        )
    yield f"  copies = {section['computed']} {_stored(section)}"


def _preference(section: Section) -> Iterator[str]:
    """The number that the documents of a side are drawn in the order of."""
    value, rank = _number(section["value"]), _number(section["rank"])
    if section["by"] == "likeness":
        half = f"0.5 + {_number(section['cosine'])} / 2"
        yield _fact("preference", f"{half} = {value}: by its cosine to the nearest target text")
        return
    central, quality = section["side"] == "central", section["quality"]
    if quality is None:
        formula = "" if central else f"1 - {rank} = "
    elif section["rank"] is None:  # of quality 0 everything is last, whatever its rank
        formula = "the least, "
    else:
        q = _number(quality)
        formula = f"{rank} x {q} = " if central else f"{q} / ({q} + {rank}) = "
    by = "" if quality is None else " and its quality"
    yield _fact("preference", f"{formula}{value}: by the rank of its host{by}")
    if section["rank"] is not None:
        yield _fact("rank", f"{rank}: the part of the pool's tokens that is of less central hosts")


def _key(section: Section, one: Section) -> str:
    """How the key of a copy follows from the hash and the weight."""
    copy, value, weight = one["copy"], _number(one["hash"]), _number(section["weight"])
    if section["method"] == "top":
        return f"{copy} - {weight}"
    if section["method"] == "gumbel":
        return f"{copy - 1} + s / (1 + s) with s = -log(1 - {value}) / {weight}"
    if section["method"] == "soft_cap":
        penalty = _number(section["penalty"])
        return f"(exp({penalty} x ({copy} - {value})) - 1) / ({penalty} x {weight})"
    return f"({copy} - {value}) / {weight}"


def _corpus(section: Section) -> Iterator[str]:
    times = section["copies"]
    yield f"  {times} time{'s' * (times != 1)} in {section['path']}"
