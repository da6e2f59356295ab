"""Materialize through the command line: phases, the holdout and cuts; and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset, load_from_disk

from mixcurate.io.lineage import find
from mixcurate.models.tokenizer import token_counter
from tests.pipelines.conftest import RECIPE, corpus_digest, invoke

MIXTURE = {
    "strategy": "uniform",
    "budget_tokens": 16_000,
    "max_epochs": 8,
    "holdout": 0.1,
    "split_documents": True,
    "phases": [
        {"name": "warm", "share": 0.6},
        {"name": "anneal", "share": 0.4, "targets": {0: {"proportion": 0.7}}},
    ],
}


@pytest.fixture(scope="module")
def phased(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of a mixture in phases."""
    folder = tmp_path_factory.mktemp("phased") / "job"
    shutil.copytree(finished, folder)
    changes = {"mixture": MIXTURE, "output": {"formats": ["arrow", "jsonl"], "shard_bytes": "12kB"}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | changes))
    result = invoke("run", folder / "recipe.yaml")
    assert result.exit_code == 0, result.output
    return folder / "work/corpus"


def manifest_of(corpus: Path) -> dict:
    return json.loads((corpus / "manifest.json").read_text())


def test_phases_follow_each_other_each_with_its_mixture(phased: Path) -> None:
    manifest = manifest_of(phased)
    ranges = {one["phase"]: one for one in manifest["ranges"]}
    assert list(ranges) == ["warm", "anneal", "holdout"]
    assert ranges["anneal"]["first_shard"] == ranges["warm"]["n_shards"] > 1
    assert ranges["holdout"]["first_shard"] == 0
    corpus = load_from_disk(str(phased))
    shards = [s for s in manifest["shards"] if s["format"] == "arrow" and s["split"] == "train"]
    start = 0
    rows = corpus["train"].to_pandas()
    for shard in shards:
        mine = rows.iloc[start : start + shard["n_documents"]]
        assert mine.n_tokens.sum() == shard["n_tokens"]
        start += shard["n_documents"]
    assert start == len(rows) == manifest["n_documents"]
    for phase in ("warm", "anneal"):
        counts = [s["n_documents"] for s in shards if s["phase"] == phase]
        assert max(counts) - min(counts) <= 1
    shares = {
        phase: {domain: n / one["n_tokens"] for domain, n in one["tokens_by_domain"].items()}
        for phase, one in ranges.items()
    }
    assert shares["anneal"]["0"] == pytest.approx(0.7, abs=0.05)
    assert shares["warm"]["0"] == pytest.approx(0.25, abs=0.05)


def test_the_holdout_stands_apart(phased: Path) -> None:
    corpus, manifest = load_from_disk(str(phased)), manifest_of(phased)
    held, trained = set(corpus["holdout"]["id"]), set(corpus["train"]["id"])
    assert held
    assert not held & trained
    assert manifest["holdout"]["n_documents"] == len(corpus["holdout"]) == len(held)
    assert manifest["holdout"]["share"] == 0.1
    loaded = load_dataset(str(phased), "anneal", cache_dir=str(phased.parent / "cache"))["train"]
    tokens = {one["phase"]: one["n_tokens"] for one in manifest["ranges"]}
    assert sum(loaded["n_tokens"]) == tokens["anneal"]


def test_a_cut_meets_the_target_to_the_token_and_is_counted(phased: Path) -> None:
    manifest = manifest_of(phased)
    rows = load_from_disk(str(phased))["train"]
    counted = token_counter("embedded", 1).count(list(rows["text"])).tolist()
    assert counted == list(rows["n_tokens"])
    for cell in manifest["cells"]:
        assert cell["achieved_tokens"] + cell["missed_tokens"] == cell["target_tokens"]
        assert cell["applied"] == "materialised"
    assert any("were cut to meet targets" in note for note in manifest["notes"])
    assert "were cut to meet targets" in (phased / "README.md").read_text()


def test_the_lineage_leads_from_each_row_to_its_input(phased: Path) -> None:
    inputs = {
        path.name: path.read_bytes().splitlines()
        for path in (phased.parents[1] / "in").glob("*.jsonl")
    }
    splits = load_from_disk(str(phased))
    for entry in manifest_of(phased)["lineage"]:
        table = pq.read_table(phased / entry["path"]).to_pylist()
        assert [row["row"] for row in table] == list(range(entry["rows"]))
    row = splits["train"][0]
    (first, *_) = find(str(phased), row["id"])
    name = first["path"].rpartition("/")[2]
    offset, data = first["position"], b"\n".join(inputs[name])
    assert json.loads(data[offset:].split(b"\n", 1)[0])["text"][:30] == row["text"][:30]
    traced = Counter(
        (row["id"], row["copy"])
        for entry in manifest_of(phased)["lineage"]
        for row in pq.read_table(phased / entry["path"]).to_pylist()
    )
    held = Counter(
        (r["id"], r["copy"]) for s in splits.values() for r in s.select_columns(["id", "copy"])
    )
    assert traced == held


def test_verify_agrees(phased: Path) -> None:
    result = invoke("verify", phased)
    assert result.exit_code == 0, result.output


def test_documents_larger_than_a_shard_have_one_each(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "job")
    recipe = tmp_path / "job/recipe.yaml"
    sizes = ("--set", "output.shard_bytes=400", "--set", "mixture.budget_tokens=3000")
    # and so small a holdout that nothing is in it
    result = invoke("run", recipe, *sizes, "--set", "mixture.holdout=1e-9")
    assert result.exit_code == 0, result.output
    manifest = manifest_of(tmp_path / "job/work/corpus")
    assert manifest["holdout"] is None
    assert [one["phase"] for one in manifest["ranges"]] == ["main"]
    shards = [shard for shard in manifest["shards"] if shard["format"] == "arrow"]
    assert max(shard["bytes"] for shard in shards) > 2_000
    assert {shard["n_documents"] for shard in shards} == {1}
    assert invoke("verify", tmp_path / "job/work/corpus").exit_code == 0


#: Runs the command, and stops for good inside the second shard, once its first rows are written.
STOPS = """
import itertools, sys, time
from mixcurate.io import exchange
from pipelines.cli import main

gather, calls = exchange.gather, itertools.count()

def slow(table, order):
    rows = gather(table, order)
    yield from itertools.islice(rows, 1)
    if "shuffle" not in table.column_names and "domain_name" in table.column_names:
        if next(calls) == 1:
            open(sys.argv[1], "w").close()
            time.sleep(600)
    yield from rows

exchange.gather = slow
main(["materialize", sys.argv[2]])
"""


def unfinished(finished: Path, folder: Path) -> Path:
    """A copy of the job whose corpus is still to be written; its recipe."""
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "work/corpus")
    shutil.rmtree(folder / "work/_stages/materialize")
    return folder / "recipe.yaml"


def test_a_killed_writer_leaves_whole_shards_and_goes_on(finished: Path, tmp_path: Path) -> None:
    recipe, marker = unfinished(finished, tmp_path / "job"), tmp_path / "marker"
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS, str(marker), str(recipe)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        start_new_session=True,
    )
    wanted, corpus = corpus_digest(finished / "work/corpus"), tmp_path / "job/work/corpus"
    deadline = time.monotonic() + 120
    while not marker.exists():
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = corpus_digest(corpus)
    assert any(Path(path).name.startswith(".tmp-") for path in found), "nothing was being written"
    shards = {
        path: digest for path, digest in found.items() if "-of-" in path and ".tmp-" not in path
    }
    assert shards, "no shard was finished before"
    assert all(digest == wanted[path] for path, digest in shards.items())
    assert "manifest.json" not in found
    result = invoke("verify", corpus)
    assert result.exit_code == 1
    assert "the corpus is unfinished" in result.output
    assert invoke("materialize", recipe).exit_code == 0
    assert corpus_digest(corpus) == wanted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.call(command):
        pytest.skip("mounting a disk is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    finished: Path, tmp_path: Path, small_disk: Path
) -> None:
    recipe = unfinished(finished, tmp_path / "job")
    where = ("--set", f"output.path={small_disk}/corpus")
    result = invoke("materialize", recipe, *where)
    assert result.exit_code == 1
    assert f"warning: {small_disk}/corpus has " in result.stderr
    assert f"cannot write to {small_disk}/corpus: No space left on device" in result.stderr
    assert "bytes are free" in result.stderr
    assert "Traceback" not in result.output
    wanted = corpus_digest(finished / "work/corpus")
    found = corpus_digest(small_disk / "corpus")
    assert not any(".tmp-" in path for path in found)
    assert all(wanted[path] == digest for path, digest in found.items() if "-of-" in path)
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    result = invoke("materialize", recipe, *where)
    assert result.exit_code == 0, result.output
    assert corpus_digest(small_disk / "corpus") == wanted
