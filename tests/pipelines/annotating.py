"""What tests of the annotator share: documents, a judge that goes by a rule, and a job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from mixcurate.io import partfiles
from mixcurate.io.workdir import Part, Success, Workdir
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.recipe_file import load_recipe
from mixcurate.transforms.runner import parse_beam_args
from pipelines.annotate import Annotated
from pipelines.job import Job
from pipelines.progress import Reporter
from tests.fake_endpoint import Sent, answer

DIMENSIONS = {"clarity": 1, "completeness": 1, "structure": 1, "credibility": 1}
DIMENSIONS |= {"significance": 1, "knowledge": 2, "reasoning": 2}
SEED = 17


def text_of(number: int) -> str:
    return f"Document {number} of the test.\nIt has {'a word ' * (number % 7)}in it."


def rule(number: int) -> dict[str, int]:
    """The points that the scripted judge gives to a document."""
    named = enumerate(DIMENSIONS.items())
    return {name: (number + place) % (most + 1) for place, (name, most) in named}


def shown(body: dict[str, Any]) -> str:
    """The document in a request, from within its frame."""
    content = body["messages"][1]["content"]
    tag = re.match(r".* tag ([0-9a-f]{16})\.\n", content)[1]
    [(start, stop)] = [
        match.span(1)
        for match in re.finditer(
            rf"\n----- BEGIN {tag} -----\n(.*)\n----- END {tag} -----\n", content, re.S
        )
    ]
    return content[start:stop]


def number_of(body: dict[str, Any]) -> int:
    return int(re.match(r"Document (\d+) ", shown(body))[1])


def judge(body: dict[str, Any]) -> Sent:
    return answer(json.dumps(rule(number_of(body))))


def write_parts(root: Path, texts: list[str], sizes: list[int]) -> None:
    """Documents doc-0, doc-1, ... in parts of these sizes."""
    workdir = Workdir(str(root))
    table = pa.table(
        {
            "id": [f"doc-{number}" for number in range(len(texts))],
            "text": pa.array(texts, pa.large_string()),
        }
    )
    parts, start = [], 0
    for number, size in enumerate(sizes):
        name = f"{number:05d}"
        partfiles.write_table(workdir.part("ingest", name), table.slice(start, size))
        parts.append(Part(name, size, 0, "xxh3:0"))
        start += size
    workdir.write_success("ingest", Success("f", parts, start, start, 0, {}, 1.0))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_hash(count: int, most: int) -> list[int]:
    """The documents with the smallest keys, in their order: the sample as it is defined."""
    keys = uniform_keys(pa.array([f"doc-{number}" for number in range(count)]), SEED, "annotate")
    return sorted(range(count), key=lambda number: int(keys[number]))[:most]


def rejects(path: Path) -> list[dict[str, Any]]:
    return lines(path.with_name(f"{path.name}.rejected"))


def accounted(done: Annotated) -> bool:
    return done.documents == done.labelled + sum(done.rejected.values()) + done.left


def make_job(
    url: str,
    base: Path,
    texts: list[str] | None = None,
    sizes: list[int] | None = None,
    folder: str = "work",
    **changes: Any,
) -> Job:
    """A job on 40 documents, all of them in the sample; the changes are of the annotator."""
    texts = [text_of(number) for number in range(40)] if texts is None else texts
    root = base / folder
    write_parts(root, texts, sizes or [len(texts)])
    asked = {"endpoint": url, "model": "judge-1", "documents": 40, "retries": 1}
    found = {
        "name": "small",
        "workdir": folder,
        "inputs": [{"path": "in.jsonl"}],
        "mixture": {"budget_tokens": 1_000},
        "score": {"annotator": asked | changes},
    }
    recipe = base / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(found))
    loaded, beam = load_recipe(str(recipe)), parse_beam_args([])
    return Job(loaded, str(base), Workdir(str(root)), beam, Reporter(quiet=True))
