"""The plan through the command line: cells of any levels, phases, the holdout, exact targets."""

from __future__ import annotations

import collections
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing
from mixcurate.transforms.preference import preference_path
from tests.pipelines.conftest import RECIPE, invoke, write_job
from tests.pipelines.staging import staged_once

TWO_PROCESSES = ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]

INPUTS = [
    {"path": "in/a.jsonl", "source": "books"},
    {"path": "in/b.jsonl", "source": "web: crawl"},
]

Row = dict[str, Any]
Planned = Callable[..., "Plan"]


def score_two_sources(folder: Path) -> None:
    recipe = write_job(folder, 150, inputs=INPUTS, mixture={})
    result = invoke("run", recipe, "--until", "score")
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job whose documents, of two sources, are scored; all processes share it."""
    return staged_once(tmp_path_factory, "sources", score_two_sources)


class Plan:
    """A finished plan and all rows that it stands on, read with plain Python."""

    def __init__(self, folder: Path, output: str) -> None:
        self.work, self.output = folder / "work", output
        self.file: dict[str, Any] = json.loads((self.work / "plan.json").read_text())
        self.rows: dict[str, Row] = {}
        self.drawn: list[Row] = []
        for path in sorted((self.work / "documents").glob("part-*.parquet")):
            self._read(path.name)
        self.phases = [r["phase"] for r in self.file["ranges"] if r["split"] == "train"]

    def _read(self, name: str) -> None:
        columns = ["id", "source", "language", "licence", "n_tokens"]
        documents = partfiles.read_table(str(self.work / "documents" / name), columns).to_pylist()
        for folder, wanted in (("assignments", None), ("scores", ["quality", "weight"])):
            table = partfiles.read_table(str(self.work / folder / name), wanted)
            documents = [a | b for a, b in zip(documents, table.to_pylist(), strict=True)]
        if self.file["by"] == ["side"]:
            path = preference_path(Workdir(str(self.work)), name[len("part-") : -len(".parquet")])
            table = partfiles.read_table(path)
            documents = [a | b for a, b in zip(documents, table.to_pylist(), strict=True)]
        self.rows |= {row["id"]: row for row in documents if row["domain"] >= 0}
        path = self.work / "_stages/select/selection" / name.replace(".parquet", ".arrow")
        self.drawn += [
            documents[one["row"]] | one for one in partfiles.read_batch(str(path)).to_pylist()
        ]

    def rejected(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = collections.defaultdict(list)
        for path in (self.work / "rejected").glob("part-plan-*.parquet"):
            for row in partfiles.read_table(str(path)).to_pylist():
                found[row["reason"]].append(row["id"])
        return found

    def value(self, row: Row, level: str) -> Any:
        if level == "tier":
            return sum(row["quality"] >= cut for cut in self.file["tier_cuts"])
        return "unknown" if row[level] is None else row[level]

    def path(self, row: Row) -> tuple[Any, ...]:
        return tuple(self.value(row, level) for level in self.file["by"])

    def check(self) -> None:
        """All that holds of every plan."""
        held = {row["id"] for row in self.drawn if row["range"] == len(self.phases)}
        rejected = self.rejected()
        left_out = set(rejected["not_in_subsample"])
        train = [row for row in self.drawn if row["range"] < len(self.phases)]
        taken = {row["id"] for row in train}
        assert len(self.rows) == len(taken) + len(held) + sum(map(len, rejected.values()))
        assert taken | held | set(rejected["not_drawn"]) | left_out == set(self.rows)
        pool = {one: row for one, row in self.rows.items() if one not in held | left_out}
        for cell in self.file["cells"]:
            own = tuple(cell["path"][level] for level in self.file["by"])
            self._check_cell(
                cell,
                [row for row in pool.values() if self.path(row) == own],
                [row for row in train if self.path(row) == own],
            )
        assert sum(c["target_tokens"] for c in self.file["cells"]) == self.file["budget_tokens"]
        for number, one in enumerate(self.file["ranges"]):
            mine = [row for row in self.drawn if row["range"] == number]
            assert (one["range"], one["documents"]) == (number, len(mine))
            assert one["tokens"] == sum(map(size, mine))
        for domain in self.file["domains"]:
            mine = [row for row in train if row["domain"] == domain["domain"]]
            there = [row for row in pool.values() if row["domain"] == domain["domain"]]
            assert domain["tokens"] == sum(map(size, mine))
            assert domain["available_tokens"] == sum(row["n_tokens"] for row in there)

    def _check_cell(self, cell: Row, there: list[Row], drawn: list[Row]) -> None:
        assert cell["available_documents"] == len(there)
        assert cell["available_tokens"] == sum(row["n_tokens"] for row in there)
        largest = max((row["n_tokens"] for row in there), default=0)
        assert cell["largest_document"] == largest
        assert cell["documents"] == len(drawn)
        assert cell["unique_documents"] == len({row["id"] for row in drawn})
        wanted = found = 0
        for number, phase in enumerate(cell["phases"]):
            tokens = sum(size(row) for row in drawn if row["range"] == number)
            assert (phase["phase"], phase["tokens"]) == (self.phases[number], tokens)
            wanted, found = wanted + phase["target_tokens"], found + tokens
            assert wanted <= found < wanted + max(largest, 1)
        assert (cell["target_tokens"], cell["tokens"]) == (wanted, found)
        copies = collections.Counter(row["id"] for row in drawn)
        if self.file["draw"]["method"] in {"alike", "top"}:
            often = [copies[row["id"]] for row in there]
            assert max(often, default=0) - min(often, default=0) <= 1


def size(row: Row) -> int:
    return row["n_tokens"] if row["keep_tokens"] is None else row["keep_tokens"]


@pytest.fixture
def plan(sources: Path, tmp_path: Path) -> Planned:
    """Plans a mixture on the scored job, and reads and checks what comes of it."""

    def planned(mixture: dict[str, Any], *more: str, fails: bool = False, **changes: Any) -> Plan:
        folder = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(sources, folder)
        recipe = folder / "recipe.yaml"
        asked = RECIPE | {"inputs": INPUTS, "mixture": mixture} | changes
        recipe.write_text(yaml.safe_dump(asked))
        result = invoke("plan", recipe, *more)
        if fails:
            assert result.exit_code == 2, result.output
            raise ValueError(result.stderr)
        assert result.exit_code == 0, result.output
        found = Plan(folder, result.output)
        found.check()
        return found

    return planned


def targets(found: Plan) -> dict[str, int]:
    return {cell["name"]: cell["target_tokens"] for cell in found.file["cells"]}


def test_shares_of_sources_and_domains_below(plan: Planned) -> None:
    asked = {"books": {"proportion": 0.5}, "web: crawl:1": {"tokens": 4_000}}
    found = plan(
        {"by": ["source", "domain"], "budget_tokens": 30_000, "max_epochs": 20, "targets": asked}
    )
    names = {d["domain"]: d["name"] for d in found.file["domains"]}
    of_books = sum(n for name, n in targets(found).items() if name.startswith("books:"))
    assert of_books == pytest.approx(15_000, abs=len(names))
    assert targets(found)[f"web: crawl:{names[1]}"] == 4_000
    assert "have no target" in found.output
    domains = {d["domain"]: d["target_tokens"] for d in found.file["domains"]}
    for number in names:
        mine = [c for c in found.file["cells"] if c["path"]["domain"] == number]
        assert domains[number] == sum(c["target_tokens"] for c in mine)


@pytest.mark.parametrize("scale", ["rank", "value"])
def test_tiers_of_quality(plan: Planned, scale: str) -> None:
    tiers = {"cuts": [0.25, 0.75], "scale": scale}
    asked = {2: {"repeat": 1.5}, 0: {"proportion": 0.0}}
    budget = {"budget_tokens": 50_000, "max_epochs": 20}
    found = plan({"by": "tier", "tiers": tiers, "targets": asked} | budget)
    assert [cell["path"]["tier"] for cell in found.file["cells"]] == [0, 1, 2]
    low, middle, high = found.file["cells"]
    assert low["documents"] == 0
    assert bool(low["available_documents"]) == (scale == "rank")
    assert high["epochs"] == pytest.approx(1.5, rel=0.1)
    if scale == "rank":
        total = sum(cell["available_tokens"] for cell in (low, middle, high))
        assert low["available_tokens"] / total == pytest.approx(0.25, abs=0.05)
        assert high["available_tokens"] / total == pytest.approx(0.25, abs=0.05)
    else:
        assert found.file["tier_cuts"] == [0.25, 0.75]
    assert all(d["target_tokens"] == d["tokens"] for d in found.file["domains"])


@pytest.mark.parametrize("level", ["language", "licence", "cluster", "source"])
def test_other_levels(plan: Planned, level: str) -> None:
    found = plan({"by": level, "strategy": "temperature", "budget_tokens": 20_000})
    assert found.file["by"] == [level]
    shares = [cell["share"] for cell in found.file["cells"]]
    have = [cell["available_tokens"] ** 0.5 for cell in found.file["cells"]]
    assert shares == pytest.approx([one / sum(have) for one in have], abs=1e-4)


PHASES = [
    {"name": "stable", "share": 0.7, "strategy": "natural"},
    {"name": "anneal", "share": 0.3, "targets": {"0": {"proportion": 0.6}}},
]


@pytest.mark.parametrize("exact", [False, True])
def test_phases_have_mixtures_of_their_own(plan: Planned, exact: bool) -> None:
    mixture = {"strategy": "uniform", "budget_tokens": 40_000, "max_epochs": 9, "phases": PHASES}
    found = plan(mixture | {"split_documents": exact})
    assert [one["phase"] for one in found.file["ranges"]] == ["stable", "anneal"]
    first, *others = found.file["cells"]
    assert sum(cell["phases"][0]["target_tokens"] for cell in found.file["cells"]) == 28_000
    assert first["phases"][1]["target_tokens"] == 7_200
    assert others[0]["phases"][1]["target_tokens"] == 1_600
    cut = [row for row in found.drawn if row["keep_tokens"] is not None]
    assert bool(cut) == exact
    if exact:
        for cell in found.file["cells"]:
            assert all(phase["tokens"] == phase["target_tokens"] for phase in cell["phases"])


def test_the_holdout_is_nobodys_pool_and_the_subsample_is_what_there_is(plan: Planned) -> None:
    found = plan({"holdout": 0.2, "subsample": 0.6, "split_documents": True})
    holdout = found.file["ranges"][-1]
    assert (holdout["split"], holdout["phase"]) == ("holdout", "holdout")
    kept = {one for one in found.rows if hashing.unit_interval(uniform(one, "subsample"))[0] < 0.6}
    held = {one for one in kept if hashing.unit_interval(uniform(one, "holdout"))[0] < 0.2}
    assert {row["id"] for row in found.drawn if row["range"] == 1} == held
    assert {row["id"] for row in found.drawn if row["range"] == 0} == kept - held
    assert set(found.rejected()["not_in_subsample"]) == set(found.rows) - kept
    assert "holdout:" in found.output


def uniform(one: str, purpose: str) -> Any:
    import pyarrow as pa

    return hashing.uniform_keys(pa.array([one]), 17, purpose)


def test_two_processes_draw_the_same(plan: Planned) -> None:
    mixture = {"by": ["source", "tier"], "strategy": "uniform", "budget_tokens": 60_000}
    mixture |= {"max_epochs": 30, "holdout": 0.1, "licences": {"permissive": 5}}
    mixture["phases"] = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]
    one, two = plan(mixture), plan(mixture, *TWO_PROCESSES)
    assert one.file == two.file
    assert one.drawn == two.drawn


def test_weights_decide_within_any_cells(plan: Planned) -> None:
    found = plan(
        {"by": "source", "strategy": "samplemix", "budget_tokens": 50_000, "max_epochs": 20}
    )
    assert found.file["draw"]["method"] == "samplemix"
    copies = collections.Counter(row["id"] for row in found.drawn)
    weights = {one: row["weight"] for one, row in found.rows.items()}
    often = [weights[one] for one, n in copies.items() if n >= 2]
    never = [weights[one] for one in weights if one not in copies]
    assert sum(often) / len(often) > 2 * sum(never) / len(never)


def test_short_cells_are_repeated_with_a_note(plan: Planned) -> None:
    mixture = {"strategy": "uniform", "budget_tokens": 90_000, "max_epochs": 1}
    found = plan(mixture | {"on_short": "repeat"})
    assert "times, more than max_epochs 1" in found.output
    assert all(cell["share"] == pytest.approx(0.25, abs=1e-4) for cell in found.file["cells"])


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"domains": {"nowhere": {"proportion": 0.5}}}, "mixture.domains: no domain 'nowhere'"),
        ({"by": "source", "targets": {"book": {"proportion": 0.5}}}, "did you mean 'books'?"),
        ({"domains": {0: {"proportion": 1}, 1: {"tokens": 50}}}, "more than budget_tokens"),
        ({"domains": {n: {"tokens": 0} for n in range(4)}}, "targets of all domains are zero"),
        ({"domains": {0: {"tokens": -1}}}, "must be at least 0, got -1"),
        ({"by": "source", "strategy": "mig"}, "goes by vectors of domains or clusters"),
        ({"min_share": 0.3}, "mixture.min_share 0.3 for 4 domains"),
        ({"phases": [{"name": "a", "share": 1, "targets": {9: {"tokens": 1}}}]}, "phase 'a': "),
    ],
)
def test_what_cannot_be_planned_is_told(plan: Planned, mixture: Row, message: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as error:
        plan({"budget_tokens": 20_000} | mixture, fails=True)
    assert message in str(error.value)
    assert "Traceback" not in str(error.value)


def test_a_budget_that_works_beside_absolute_targets_is_told(plan: Planned) -> None:
    mixture = {"domains": {0: {"repeat": 1.5}}, "max_epochs": 2}
    with pytest.raises(ValueError, match="works with these targets is") as error:
        plan({"budget_tokens": 10**7} | mixture, fails=True)
    works = int(str(error.value).split("these targets is ")[1].split(".")[0].replace(",", ""))
    plan({"budget_tokens": works} | mixture)
    with pytest.raises(ValueError, match="cannot be met"):
        plan({"budget_tokens": works + 4} | mixture, fails=True)
