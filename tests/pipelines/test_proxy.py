"""``run_proxy`` on the workdir of a finished run, which it must not change."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixcurate.errors import OutputError, RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.verify import verify_corpus
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.cells import Membership
from mixcurate.kernels.mixture import DomainTarget, MixtureParams, PhaseParams
from mixcurate.recipe import Recipe
from pipelines.job import Job
from pipelines.proxy import proxy_recipe, render_proxy, run_proxy
from pipelines.start import start_job
from tests.pipelines.conftest import invoke

BUDGET = 24_000


def recipe(**mixture: object) -> Recipe:
    return Recipe(
        name="small",
        workdir="work",
        inputs=[{"path": "in/*.jsonl", "source": "reference"}],
        mixture=MixtureParams(**mixture),
    )


def tree(folder: Path) -> dict[str, str]:
    """Hashes of the files of a workdir, besides those of proxies."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if "proxies" not in path.parts
    }


@pytest.fixture(scope="module")
def parent(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a finished job that proxies may be put into."""
    folder = tmp_path_factory.mktemp("proxies") / "job"
    shutil.copytree(finished, folder)
    return folder


def job_of(folder: Path, *overrides: str) -> Job:
    return start_job(str(folder / "recipe.yaml"), overrides, [], quiet=True)


def subsampled(folder: Path, fraction: float) -> dict[int, int]:
    """Tokens per domain of the documents whose hash falls into the fraction."""
    workdir, totals = Workdir(str(folder / "work")), dict[int, int]()
    success = workdir.success("score")
    assert success is not None
    for part in success.parts:
        documents = partfiles.read_table(workdir.part("ingest", part.name), ["id", "n_tokens"])
        domain = partfiles.read_table(workdir.part("cluster", part.name), ["domain"])
        left = Membership(17, subsample=fraction).left_out(documents["id"].combine_chunks())
        tokens = documents["n_tokens"].to_numpy()
        for number in np.unique(domain["domain"].to_numpy()).tolist():
            mine = ~left & (domain["domain"].to_numpy() == number)
            totals[number] = totals.get(number, 0) + int(tokens[mine].sum())
    return totals


def test_each_domain_repeats_as_in_the_whole_corpus(parent):
    before = tree(parent / "work")
    made = run_proxy(job_of(parent), BUDGET // 2)
    assert tree(parent / "work") == before, "the workdir is only read"
    assert made["fraction"] == 0.5
    whole = storage.read_json(str(parent / "work/plan.json"))
    planned = storage.read_json(str(parent / "work/proxies/12000/plan.json"))
    assert planned["notes"][0] == (
        "proxy of small: 0.5 of its documents, by hash, for 12,000 of 24,000 tokens, so that each "
        "repeats as often"
    )
    there = subsampled(parent, 0.5)
    assert [d["domain"] for d in made["domains"]] == [d["domain"] for d in whole["domains"]]
    for mine, its, cell in zip(made["domains"], whole["domains"], planned["cells"], strict=True):
        assert mine["available_tokens"] == there[mine["domain"]]
        assert mine["whole_epochs"] == its["epochs"]
        assert mine["share"] == pytest.approx(its["share"], abs=1e-3)
        # were the halves even, the epochs would be those of the whole but for one document each
        half = its["available_tokens"] / 2
        off = 2 * cell["largest_document"] / half
        even = mine["epochs"] * mine["available_tokens"] / half
        assert even == pytest.approx(its["epochs"], abs=off)
    assert verify_corpus(made["corpus"]) == []
    text = render_proxy(made)
    assert "proxy: 12,000 of 24,000 tokens" in text
    assert "from 50.0000% of the documents" in text


def test_a_second_time_nothing_is_done_again(parent):
    first = run_proxy(job_of(parent), BUDGET // 2)
    files = {path: path.stat().st_mtime_ns for path in Path(first["corpus"]).rglob("*")}
    assert run_proxy(job_of(parent), BUDGET // 2) == first
    assert files == {path: path.stat().st_mtime_ns for path in Path(first["corpus"]).rglob("*")}


def ids_of(work: Path, pattern: str) -> list[str]:
    paths = sorted(work.glob(pattern))
    found = [partfiles.read_table(str(path), ["id"]).column("id").to_pylist() for path in paths]
    return [name for names in found for name in names]


def told(work: Path, document: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke("explain", work, document, "--json").output)
    return found


def test_it_is_explained_by_the_stages_below(parent, tmp_path):
    assert invoke("proxy", parent / "recipe.yaml", "--tokens", "12000").exit_code == 0
    shutil.copytree(parent, tmp_path / "moved")
    work = tmp_path / "moved" / "work"
    proxy = work / "proxies" / "12000"
    steps = ("part", "row", "document", "signals", "quality", "cluster", "diversity", "weight")
    verdicts = []
    for name in ids_of(work, "documents/part-*.parquet")[::9]:
        own, whole = told(proxy, name), told(work, name)
        assert {step: own[step] for step in steps} == {step: whole[step] for step in steps}
        for one in (own, whole):
            assert one["waiting"] == []
            assert len(one["rejected"]) <= 1
            if one["plan"] is not None:
                assert one["plan"]["computed"] == one["plan"]["stored"]
                assert one["corpus"] or one["plan"]["outside"]
        verdicts.append((own["verdict"], whole["verdict"]))
    for mine, others in (("drawn 1 time", "drawn"), ("dropped by plan: not_in_s", "drawn 1 time")):
        assert any(a.startswith(mine) and b.startswith(others) for a, b in verdicts)
    for stage in ("ingest", "cluster"):
        for name in ids_of(work, f"rejected/part-{stage}-*.parquet")[:3]:
            assert told(proxy, name)["rejected"] == told(work, name)["rejected"]


def test_its_report_begins_with_the_stages_below(parent):
    work = parent / "work"
    before = tree(work)
    assert invoke("proxy", parent / "recipe.yaml", "--tokens", "12000").exit_code == 0
    shown = invoke("report", work / "proxies" / "12000").output.strip()
    assert tree(work) == before
    assert shown == str(work / "proxies" / "12000" / "report.html")
    invoke("report", work)
    listed = invoke("inspect", work / "proxies" / "12000").output
    assert all(stage in listed for stage in ("ingest", "embed", "cluster", "score", "plan"))
    pages = [Path(shown).read_text(), (work / "report.html").read_text()]
    own, whole = [dict(re.findall(r'<section id="(\w+)">(.*?)</section>', p, re.S)) for p in pages]
    assert list(own) == list(whole)
    for name in ("clusters", "scores", "origin", "domains"):
        assert own[name] == whole[name]
    for step in ("records in", "filter_alpha_words", "after pruning", "not_in_subsample"):
        assert step in own["funnel"]
    for reason in ("filter_alpha_words", "not_in_subsample"):
        [card] = re.findall(rf"<h3>{reason}</h3>.*?</article>", own["rejected"], re.S)
        assert card.count("<li>") == 3


def test_its_folder_may_be_named_and_must_be_free(parent, tmp_path):
    made = run_proxy(job_of(parent), 6_000, str(tmp_path / "small"))
    assert made["corpus"] == str(tmp_path / "small")
    assert made["workdir"] == str(parent / "work/proxies/6000")
    manifest = storage.read_json(str(tmp_path / "small/manifest.json"))
    assert manifest["name"] == "small-proxy-6000"
    assert manifest["mixture"]["subsample"] == 0.25
    assert manifest["budget_tokens"] == 6_000
    with pytest.raises(OutputError):
        run_proxy(job_of(parent), 5_000, str(tmp_path / "small"))


def test_what_a_proxy_cannot_be_made_of_is_told(parent, tmp_path):
    with pytest.raises(RequestError, match=r"--tokens 24,000 is no less than .* 24,000; a proxy"):
        run_proxy(job_of(parent), BUDGET)
    with pytest.raises(RequestError, match=r"a proxy needs 'mixture\.budget_tokens'"):
        run_proxy(job_of(parent, "mixture.strategy=natural", "mixture.budget_tokens=null"), 10)
    (tmp_path / "in").mkdir()
    shutil.copy(parent / "recipe.yaml", tmp_path)
    shutil.copytree(parent / "in", tmp_path / "in", dirs_exist_ok=True)
    with pytest.raises(RequestError, match="stage 'score' has not finished"):
        run_proxy(job_of(tmp_path), 6_000)


def test_targets_in_tokens_are_cut_down_and_others_stay():
    asked = {
        "a": DomainTarget(tokens=1_000),
        "b": DomainTarget(proportion=0.2),
        3: DomainTarget(repeat=2.5),
    }
    made = proxy_recipe(
        recipe(
            strategy="explicit",
            budget_tokens=10_000,
            subsample=0.5,
            domains=asked,
            phases=[
                PhaseParams(name="main", share=0.9),
                PhaseParams(name="anneal", share=0.1, targets={"a": DomainTarget(tokens=500)}),
            ],
        ),
        1_000,
    )
    mixture = made.mixture
    assert made.name == "small-proxy-1000"
    assert mixture.budget_tokens == 1_000
    assert mixture.subsample == pytest.approx(0.05)
    assert mixture.domains == asked | {"a": DomainTarget(tokens=100)}
    assert mixture.phases[1].targets == {"a": DomainTarget(tokens=50)}
    assert [phase.share for phase in mixture.phases] == [0.9, 0.1]
    assert MixtureParams(**mixture.model_dump()) == mixture, "it is a recipe that can be read"


@pytest.mark.parametrize(
    ("asked", "expected"), [("fail", "repeat"), ("renormalize", "renormalize")]
)
def test_a_domain_that_comes_out_small_repeats_more(asked, expected):
    made = proxy_recipe(recipe(strategy="uniform", budget_tokens=100, on_short=asked), 10)
    assert made.mixture.on_short == expected
