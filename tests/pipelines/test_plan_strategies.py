"""Every strategy plans a real job: its shares are met, and its draw is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.test_plan import Planned, plan, sources

__all__ = ["plan", "sources"]  # fixtures

#: Less than the pool has.
SMALL = {"budget_tokens": 8_000}

BUDGET = {"budget_tokens": 20_000, "max_epochs": 20}


@pytest.mark.parametrize(
    "mixture",
    [
        {"strategy": "unimax"},
        {"strategy": "repetition"},
        {"strategy": "entropy"},
        {"strategy": "entropy", "entropy": {"kind": "von_neumann"}, "by": "source"},
        {"strategy": "topics", "topics": {"factors": {"FIRST": 3.0}}},
        {"strategy": "smart"},
        {"strategy": "mig", "by": "cluster"},
        {"strategy": "smart", "smart": {"function": "facility_location"}, "by": "cluster"},
    ],
    ids=lambda mixture: "-".join(str(v) for v in mixture.values() if isinstance(v, str)),
)
def test_shares_are_met(plan: Planned, sources: Path, mixture: dict[str, Any]) -> None:
    named = json.dumps(mixture).replace("FIRST", first_name(sources).replace(chr(34), ""))
    found = plan(BUDGET | json.loads(named))
    shares = [cell["share"] for cell in found.file["cells"]]
    assert sum(shares) == pytest.approx(1)
    assert found.file["strategy"] == mixture["strategy"]


def first_name(sources: Path) -> str:
    from mixcurate.io import partfiles

    table = partfiles.read_table(str(sources / "work/domains.parquet"), ["name"])
    name: str = table.column("name")[0].as_py()
    return name


def test_shares_of_a_file_and_a_change_of_it(plan: Planned, tmp_path: Path) -> None:
    path = tmp_path / "shares.yaml"
    path.write_text("train:\n  books: 0.8\n  web crawl: 0.2\n")
    mixture = {"strategy": "file", "by": "source", "file": {"path": str(path), "format": "regmix"}}
    mixture["file"]["names"] = {"web crawl": "web: crawl"}
    found = plan(BUDGET | mixture)
    assert [cell["target_tokens"] for cell in found.file["cells"]] == [16_000, 4_000]


TEXTS = ["The court ruled on the appeal.", "A recipe for soup with onions and salt."]


@pytest.mark.parametrize("method", ["importance", "transport", "rds"])
def test_more_of_what_is_like_some_texts(plan: Planned, tmp_path: Path, method: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    target = {"path": str(path), "method": method}
    found = plan(BUDGET | {"strategy": "target", "target": target, "max_epochs": 1} | SMALL)
    if method == "rds":
        assert [cell["name"] for cell in found.file["cells"]] == ["ranked"]
        best = sorted(found.rows.values(), key=lambda row: -row["preference"])
        taken = {row["id"] for row in found.drawn}
        assert taken == {row["id"] for row in best[: len(taken)]}


def test_central_hosts_and_others(plan: Planned, tmp_path: Path) -> None:
    path = tmp_path / "hosts.csv"
    path.write_text("host,score\nexample.org,1\nother.example,0.5\n")
    centrality = {"scores": str(path), "central_share": 0.4}
    found = plan(BUDGET | {"strategy": "centrality", "centrality": centrality})
    low, high = found.file["cells"]
    assert [low["name"], high["name"]] == ["peripheral", "central"]
    assert high["target_tokens"] == 8_000
    total = low["available_tokens"] + high["available_tokens"]
    assert high["available_tokens"] / total == pytest.approx(0.4, abs=0.02)


def test_a_strategy_that_orders_documents_stands_alone(plan: Planned) -> None:
    mixture = {"strategy": "centrality", "centrality": {"scores": "x"}, "by": "source"}
    with pytest.raises(ValueError, match="chooses the documents themselves"):
        plan(BUDGET | mixture, fails=True)
