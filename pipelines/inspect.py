"""What is in a workdir, a corpus or a part file: as plain data, and as text for a terminal."""

from __future__ import annotations

import base64
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixcurate.errors import RequestError
from mixcurate.io import corpus as corpus_io
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import DATA_FOLDERS, Workdir
from mixcurate.tables import CORPUS
from pipelines.explain_table import visible

_LONGEST = 80
_WIDTH = 100


def inspect_path(path: str) -> dict[str, Any]:
    """Describe a workdir, a corpus or a part file.

    Returns:
        JSON-able; ``kind`` is ``workdir``, ``corpus`` or ``part``.

    Raises:
        RequestError: the path is none of them.
    """
    if not storage.exists(path):
        raise RequestError(f"{path} does not exist")
    if path.endswith((".parquet", ".arrow")):
        return _part(path)
    if storage.exists(storage.join(path, corpus_io.MANIFEST)):
        return _corpus(path)
    workdir = Workdir.open(path)
    if any(storage.exists(workdir.success_path(stage)) for stage in DATA_FOLDERS):
        return _workdir(workdir)
    if corpus_io.owner(path) is not None:
        raise RequestError(f"{path} is an unfinished corpus; run mixcurate again to finish it")
    raise RequestError(
        f"cannot inspect {path}: expected a workdir with a finished stage, a corpus (a folder with "
        f"{corpus_io.MANIFEST}), or a part file (.parquet or .arrow)"
    )


def render(info: dict[str, Any]) -> str:
    """What ``inspect_path`` found, as aligned tables."""
    show = {"workdir": _show_workdir, "corpus": _show_corpus, "part": _show_part}
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False)
    for piece in show[info["kind"]](info):
        console.print(piece)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())


def _workdir(workdir: Workdir) -> dict[str, Any]:
    stages = []
    rejected: list[dict[str, Any]] = []
    for stage in DATA_FOLDERS:
        success = workdir.success(stage)
        if success is None:
            continue
        stages.append(
            {
                "stage": stage,
                "documents_in": success.documents_in,
                "documents_out": success.documents_out,
                "tokens": success.tokens,
                "parts": len(success.parts),
                "wall_seconds": success.details.get("wall_seconds"),
                "fingerprint": success.fingerprint,
            }
        )
        for reason, count in success.rejected.items():
            n_bytes, tokens = success.rejected_sizes.get(reason, (None, None))
            rejected.append(
                {
                    "stage": stage,
                    "reason": reason,
                    "documents": count,
                    "share_of_stage": count / max(success.documents_in, 1),
                    "bytes": n_bytes,
                    "tokens": tokens,
                }
            )
    info: dict[str, Any] = {"kind": "workdir", "path": workdir.root, "stages": stages}
    info["rejected"] = rejected
    if workdir.success("cluster") is not None:
        columns = ["domain", "name", "keywords", "n_documents", "n_tokens", "mean_quality"]
        table = partfiles.read_table(workdir.path("domains.parquet"), columns)
        info["domains"] = table.to_pylist()
    if workdir.success("plan") is not None:
        info["plan"] = storage.read_json(workdir.path("plan.json"))
    done = workdir.success("materialize")
    info["corpus"] = done.details.get("corpus") if done else None
    return info


def _corpus(path: str) -> dict[str, Any]:
    manifest = storage.read_json(storage.join(path, corpus_io.MANIFEST))
    if not isinstance(manifest, dict) or not {"shards", "domains", "sources"} <= set(manifest):
        raise RequestError(f"{path}/{corpus_io.MANIFEST} is no manifest of mixcurate")
    shards = manifest.pop("shards")
    formats: dict[str, dict[str, int]] = {}
    for shard in shards:
        mine = formats.setdefault(shard["format"], {"shards": 0, "n_documents": 0, "bytes": 0})
        mine["shards"] += 1
        mine["n_documents"] += shard["n_documents"]
        mine["bytes"] += shard["bytes"]
    schema = [{"name": field.name, "type": str(field.type)} for field in CORPUS]
    return {"kind": "corpus", "path": path, "formats": formats, "schema": schema} | manifest


def _part(path: str) -> dict[str, Any]:
    try:
        with storage.open_read(path) as stream:
            read = _parquet if path.endswith(".parquet") else _arrow
            schema, rows, first = read(stream)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RequestError(f"{path} is no sound Parquet or Arrow file: {error}") from error
    return {
        "kind": "part",
        "path": path,
        "rows": rows,
        "bytes": storage.size(path),
        "schema": [
            {"name": field.name, "type": str(field.type), "nullable": field.nullable}
            for field in schema
        ],
        "first": {name: _plain(value) for name, value in (first or {}).items()},
    }


def _parquet(stream: Any) -> tuple[pa.Schema, int, dict[str, Any] | None]:
    file = pq.ParquetFile(stream)
    batch = next(file.iter_batches(batch_size=1), None)
    first = batch.to_pylist()[0] if batch is not None and batch.num_rows else None
    return file.schema_arrow, file.metadata.num_rows, first


def _arrow(stream: Any) -> tuple[pa.Schema, int, dict[str, Any] | None]:
    """Embeddings are IPC files, shards of a corpus are IPC streams."""
    is_file = stream.read(6) == b"ARROW1"
    stream.seek(0)
    if is_file:
        reader = pa.ipc.open_file(stream)
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        reader = batches = pa.ipc.open_stream(stream)
    rows, first = 0, None
    for batch in batches:
        if first is None and batch.num_rows:
            first = batch.slice(0, 1).to_pylist()[0]
        rows += batch.num_rows
    return reader.schema, rows, first


def _plain(value: Any) -> Any:
    """A value of a row as JSON can hold it, cut to what a line can show."""
    if isinstance(value, bytes):
        return base64.b16encode(value).decode().lower()[:_LONGEST]
    if isinstance(value, list):
        cut = [_plain(item) for item in value[:8]]
        return [*cut, f"… {len(value) - 8:,} more"] if len(value) > 8 else cut
    if isinstance(value, str) and len(value) > _LONGEST:
        return value[: _LONGEST - 1] + "…"
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _show_workdir(info: dict[str, Any]) -> list[Any]:
    pieces: list[Any] = [_line(f"workdir {info['path']}")]
    rows = [
        [s["stage"], s["documents_in"], s["documents_out"], s["tokens"], s["parts"], _time(s)]
        for s in info["stages"]
    ]
    names = ["stage", "documents in", "out", "tokens", "parts", "seconds"]
    pieces.append(_table("finished stages", names, rows))
    if info["rejected"]:
        numbers = ["documents", "bytes", "tokens"]
        rows = [
            [*(r["stage"], r["reason"]), *(r[n] for n in numbers), f"{r['share_of_stage']:.2%}"]
            for r in info["rejected"]
        ]
        sums = [sum(r[n] or 0 for r in info["rejected"]) for n in numbers]
        rows.append(["sum", "", *sums, ""])
        names = ["stage", "reason", *numbers, "of the stage"]
        pieces.append(_table("rejected", names, rows, words=2))
    if "domains" in info:
        rows = [
            [d["domain"], d["name"], d["n_documents"], d["n_tokens"], f"{d['mean_quality']:.3f}"]
            for d in info["domains"]
        ]
        names = ["domain", "name", "documents", "tokens", "quality"]
        pieces.append(_table("domains", names, rows, words=2))
    if "plan" in info:
        plan = info["plan"]
        pieces += _show_plan(plan)
    if info["corpus"]:
        pieces += [Text(), _line(f"corpus {info['corpus']}")]
    return pieces


#: Cells of a plan that are shown: the largest.
_MOST_CELLS = 100


def _show_plan(plan: dict[str, Any]) -> list[Any]:
    """Targets of the cells, and the phases if there are several."""
    cells = sorted(plan["cells"], key=lambda cell: (-cell["target_tokens"], cell["cell"]))
    rows = [
        [
            *(c["cell"], c["name"], c["available_tokens"], c["target_tokens"]),
            *(f"{c['share']:.4%}", f"{c['epochs']:.3f}", c["effective_tokens"], c["documents"]),
        ]
        for c in sorted(cells[:_MOST_CELLS], key=lambda cell: cell["cell"])
    ]
    title = f"plan: {plan['strategy']}, {plan['budget_tokens']:,} tokens"
    unit = "domain" if plan["by"] == ["domain"] else "cell"
    names = [unit, "name", "available", "target", "share", "epochs", "worth", "documents"]
    pieces: list[Any] = [_table(title, names, rows, words=2)]
    if len(cells) > _MOST_CELLS:
        pieces.append(_line(f"and {len(cells) - _MOST_CELLS:,} smaller cells"))
    if len(plan["ranges"]) > 1:
        rows = [[r["phase"], r["documents"], r["tokens"], r["shards"]] for r in plan["ranges"]]
        pieces.append(_table("phases", ["phase", "documents", "tokens", "shards"], rows))
    return pieces


def _time(stage: dict[str, Any]) -> str:
    return "" if stage["wall_seconds"] is None else f"{stage['wall_seconds']:,.1f}"


def _show_corpus(info: dict[str, Any]) -> list[Any]:
    facts = [
        ["name", info["name"]],
        ["documents", f"{info['n_documents']:,}"],
        ["tokens", f"{info['n_tokens']:,} (budget {info['budget_tokens']:,})"],
        ["tokenizer", info["tokenizer"]],
        ["strategy", f"{info['strategy']}, seed {info['seed']}"],
        ["recipe", info["recipe_fingerprint"]],
        ["columns", ", ".join(f"{c['name']} ({c['type']})" for c in info["schema"])],
    ]
    pieces: list[Any] = [_line(f"corpus {info['path']}"), _table("", ["", ""], facts, words=2)]
    rows = [
        [name, f["shards"], f["n_documents"], f["bytes"]] for name, f in info["formats"].items()
    ]
    pieces.append(_table("shards", ["format", "shards", "documents", "bytes"], rows))
    rows = [
        [
            *(d["domain"], d["name"], d["n_documents"], d["target_tokens"], d["achieved_tokens"]),
            *(f"{d['target_share']:.4%}", f"{d['achieved_share']:.4%}", f"{d['epochs']:.3f}"),
        ]
        for d in info["domains"]
    ]
    names = ["domain", "name", "documents", "target", "achieved", "target", "achieved", "epochs"]
    pieces.append(_table("domains: tokens and shares", names, rows, words=2))
    for key in ("sources", "licences"):
        rows = [
            [e["name"], e["n_documents"], e["achieved_tokens"], f"{e['achieved_share']:.4%}"]
            for e in info[key]
        ]
        pieces.append(_table(key, ["name", "documents", "tokens", "share"], rows))
    return pieces


def _show_part(info: dict[str, Any]) -> list[Any]:
    rows = [
        [
            c["name"],
            c["type"] + ("" if c["nullable"] else ", not null"),
            info["first"].get(c["name"]),
        ]
        for c in info["schema"]
    ]
    head = f"{info['path']}: {info['rows']:,} rows, {info['bytes']:,} bytes"
    return [_line(head), _table("", ["column", "type", "first row"], rows, words=3)]


def _line(text: str) -> Text:
    return Text(visible(text), overflow="fold")


def _table(title: str, names: list[str], rows: list[list[Any]], *, words: int = 1) -> Table:
    """A table whose first ``words`` columns are words and whose others are numbers."""
    table = Table(
        title=f"\n{title}" if title else None,
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        show_header=any(names),
    )
    for index, name in enumerate(names):
        table.add_column(name, justify="left" if index < words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else visible(str(value))
