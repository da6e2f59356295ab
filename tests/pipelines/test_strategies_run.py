"""Strategies that go by vectors, by given texts and by hosts, from the command line to the plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mixcurate.io import partfiles
from pipelines import facts_target
from pipelines.explain_table import render
from tests.pipelines.conftest import invoke

BUDGET = 6_000


@pytest.fixture
def folder(until_score: Path, tmp_path: Path) -> Path:
    """A copy of a scored job, with the texts of some of its documents beside the recipe."""
    shutil.copytree(until_score, tmp_path / "job")
    lines = (until_score / "in" / "a.jsonl").read_text().splitlines()[:6]
    (tmp_path / "job" / "target.jsonl").write_text("\n".join(lines))
    return tmp_path / "job"


def plan(folder: Path, **mixture: object) -> tuple[dict[str, Any], str]:
    """The plan of a mixture, and what was said."""
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["mixture"] = {"budget_tokens": BUDGET, "max_epochs": 4, "on_short": "renormalize"}
    recipe["mixture"] |= mixture
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    result = invoke("plan", folder / "recipe.yaml")
    if result.exit_code:
        return {}, result.output
    return json.loads((folder / "work" / "plan.json").read_text()), result.output


def rows(folder: Path) -> tuple[list[float], list[str], list[int], set[str]]:
    """Preference, URL and tokens of all documents, and the URLs of those that are drawn."""
    preference, urls, tokens, chosen, work = [], [], [], set(), folder / "work"
    for path in sorted((work / "_stages/preference/parts").glob("part-*.parquet")):
        preference += partfiles.read_table(str(path)).column("preference").to_pylist()
        documents = partfiles.read_table(str(work / "documents" / path.name))
        urls += documents.column("url").to_pylist()
        tokens += documents.column("n_tokens").to_pylist()
        drawn = partfiles.read_batch(str(work / "_stages/select/selection" / f"{path.stem}.arrow"))
        chosen |= set(documents.column("url").take(drawn.column("row")).to_pylist())
    return preference, urls, tokens, chosen


def explained(folder: Path) -> list[dict[str, Any]]:
    """What ``explain`` says of some documents of the pool; its text is made of that."""
    found = []
    for path in sorted((folder / "work/documents").glob("part-*.parquet")):
        for name in partfiles.read_table(str(path), ["id"]).column("id").to_pylist()[::10]:
            told = json.loads(invoke("explain", folder / "work", name, "--json").output)
            if told["plan"] is None:
                continue
            found.append(told["plan"] | {"url": told["document"]["url"]})
            found[-1]["quality"] = told["quality"]["stored"]
            text = render(told)
            assert "STORED" not in text
            found[-1]["text"] = text[text.index("\nplan\n") :]
    assert invoke("explain", folder / "work", name).output.strip() == render(told)
    assert {one["computed"] for one in found} == {0, 1}
    for one in found:
        assert one["computed"] == one["stored"]
        least = [limit["preference"] for limit in one["thresholds"]]
        assert (one["preference"]["value"] >= least[-1]) == one["computed"]
        assert f"copy 1 is drawn from the preference {least[-1]:.6g} on" in one["text"]
    return found


def meets_budget(found: dict[str, Any]) -> None:
    assert sum(cell["target_tokens"] for cell in found["cells"]) == BUDGET
    assert sum(cell["share"] for cell in found["cells"]) == pytest.approx(1)
    for cell in found["cells"]:
        assert 0 <= cell["tokens"] - cell["target_tokens"] <= cell["largest_document"]


def test_smart_and_mig_share_among_clusters(folder: Path) -> None:
    shares = {}
    for name in ("smart", "mig"):
        found, _ = plan(folder, strategy=name, by="cluster")
        meets_budget(found)
        shares[name] = [cell["share"] for cell in found["cells"]]
    assert shares["smart"] != shares["mig"]


@pytest.mark.parametrize("method", ["importance", "transport"])
def test_target_texts_draw_the_clusters_they_are_in(folder: Path, method: str) -> None:
    about = {"path": "target.jsonl", "method": method, "smoothing": 0.01}
    found, said = plan(folder, strategy="target", by="cluster", target=about)
    meets_budget(found)
    assert "6 target texts of target.jsonl" in said
    texts = partfiles.read_array(str(folder / "work/_stages/target/vectors.npy"))
    centroids = partfiles.read_array(str(folder / "work/centroids.npy"))
    near = set((texts @ centroids.T).argmax(axis=1).tolist())
    inside = sum(c["share"] for c in found["cells"] if c["path"]["cluster"] in near)
    outside = sum(c["available_tokens"] for c in found["cells"] if c["path"]["cluster"] not in near)
    natural = 1 - outside / sum(c["available_tokens"] for c in found["cells"])
    assert inside > natural


def test_rds_draws_the_target_texts_themselves_first(folder: Path) -> None:
    about = {"path": "target.jsonl", "method": "rds"}
    found, _ = plan(folder, strategy="target", target=about)
    meets_budget(found)
    preference, urls, tokens, chosen = rows(folder)
    order = np.argsort(-np.array(preference), kind="stable")
    reached = np.cumsum(np.array(tokens)[order])
    first = {urls[row] for row in order[: np.searchsorted(reached, BUDGET) + 1]}
    assert chosen == first
    lines = (folder / "target.jsonl").read_text().splitlines()
    found_urls = [json.loads(line)["url"] for line in lines]
    given = [preference[urls.index(url)] for url in found_urls if url in urls]
    assert all(one == 0 or one > 0.999 for one in given)  # 0: not in the pool
    assert max(given) > 0.999
    assert [cell["name"] for cell in found["cells"]] == ["ranked"]
    for one in explained(folder):
        about = one["preference"]
        assert about["value"] == preference[urls.index(one["url"])]
        assert about["cosine"] == 2 * about["value"] - 1
        assert (about["side"], one["cell"]["name"]) == ("ranked", "ranked")
        assert f"0.5 + {about['cosine']:.6g} / 2 = {about['value']:.6g}: by its" in one["text"]


def test_central_and_peripheral_sides(folder: Path) -> None:
    (folder / "ranks.tsv").write_text("#host_rev\t#pr_val\norg.example\t0.5\ncom.other\t0.25\n")
    about = {"scores": "ranks.tsv", "central_share": 0.4}
    found, said = plan(folder, strategy="centrality", centrality=about)
    meets_budget(found)
    assert "pr_val of 2 hosts in ranks.tsv" in said
    assert "0.0% of the pool's tokens have no score" in said
    assert [cell["name"] for cell in found["cells"]] == ["peripheral", "central"]
    assert [cell["share"] for cell in found["cells"]] == pytest.approx([0.6, 0.4], abs=1e-3)
    # of the pool, too
    available = [cell["available_tokens"] for cell in found["cells"]]
    assert 0 <= available[1] - 0.4 * sum(available) <= found["cells"][1]["largest_document"]
    preference, urls, _, _ = rows(folder)
    for one in explained(folder):
        about = one["preference"]
        assert about["value"] == preference[urls.index(one["url"])]
        assert about["side"] == one["cell"]["name"]
        central = about["side"] == "central"
        assert about["rank"] == (about["value"] if central else 1 - about["value"])
        assert (about["rank"] > 0.55) == central, "of the pool's tokens 0.6 are less central"
        assert f"  rank          {about['rank']:.6g}: the part of" in one["text"]


def test_centrality_with_quality_in_phases_is_explained(folder: Path) -> None:
    (folder / "ranks.csv").write_text("host,score\nexample.org,1\n")
    about = {"scores": "ranks.csv", "with_quality": True}
    phases = [{"name": "first", "share": 0.5}, {"name": "second", "share": 0.5}]
    found, _ = plan(folder, strategy="centrality", centrality=about, phases=phases)
    meets_budget(found)
    sides = set()
    for one in explained(folder):
        told, quality = one["preference"], one["quality"]
        rank, central = told["rank"], told["side"] == "central"
        sides.add(told["side"])
        assert told["quality"] == pytest.approx(quality)
        made = rank * quality if central else quality / (quality + rank)
        assert told["value"] == pytest.approx(made)
        assert (rank > 0.5) == central
        assert f"= {told['value']:.6g}: by the rank of its host and its quality" in one["text"]
        assert one["text"].count("on in phase ") == 2
    assert sides == {"peripheral", "central"}


def test_centrality_is_computed_from_links(folder: Path) -> None:
    (folder / "links.csv").write_text("source,target\nexample.org,x.org\nx.org,y.org\n")
    about = {"links": "links.csv", "measure": "betweenness", "central_share": 1.0}
    _, said = plan(folder, strategy="centrality", centrality=about)
    assert "no document of the pool is of a host that has a score in links.csv" in said
    about["measure"] = "degree"
    found, said = plan(folder, strategy="centrality", centrality=about)
    assert "degree of 3 hosts with 2 links" in said
    meets_budget(found)


def test_what_cannot_be_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_target, "MAX_TEXTS", 5)
    (folder / "none.jsonl").write_text('{"body": "x"}\n')
    (folder / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    (folder / "sites.csv").write_text("site,score\na.org,1\n")
    wrong = [
        ({"strategy": "target", "target": {"path": "absent.jsonl"}}, "absent.jsonl"),
        ({"strategy": "target", "target": {"path": "none.jsonl"}}, "no text in field 'text'"),
        ({"strategy": "target", "target": {"path": "broken.parquet"}}, "broken.parquet"),
        ({"strategy": "target", "target": {"path": "target.jsonl"}}, "holds more than 5 texts"),
        ({"strategy": "centrality", "centrality": {"scores": "sites.csv"}}, "no column of hosts"),
        ({"strategy": "centrality", "centrality": {"links": "sites.csv"}}, "'source' and 'target'"),
    ]
    for mixture, message in wrong:
        _, said = plan(folder, by="domain", **mixture)
        assert message in said
        assert said.startswith("error:") or "\nerror:" in said
