"""The files of ``mixture/``, parsed as their readers do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixcurate.io.blend_files import blend_files
from mixcurate.io.shard_formats.table import FORMATS
from tests.io.token_corpora import by_bytes, packed, shard_rows, write_corpus

PHASES = ("warm_up", "main", "main", "anneal")


def made(folder: Path, length: int | None = None, eos: int | None = 257) -> dict[str, Any]:
    """A manifest of four shards of tokens in three phases, with a holdout."""
    options = by_bytes(length=length, eos=eos)
    manifest = write_corpus(str(folder), options, ("megatron", "nanotron"), n_shards=4)
    for entry in manifest["shards"]:
        train = entry["split"] == "train"
        entry["phase"] = PHASES[entry["shard"]] if train else "holdout"
    manifest["domains"] = [
        {"name": "law: old & new", "available_tokens": 300},
        {"name": "Küche", "available_tokens": 100},
    ]
    return manifest


def plain(*kinds: str, phases: tuple[str, ...] = ("main",) * 12, held_out: int = 1) -> Any:
    """A manifest of shards that are not written, 10 MB of tokens each."""
    shards = []
    for kind in kinds:
        places = [("train", i, len(phases), phase) for i, phase in enumerate(phases)]
        places += [("holdout", i, held_out, "holdout") for i in range(held_out)]
        for split, shard, n, phase in places:
            path, *also = FORMATS[kind].shard_paths(split, shard, n)
            entry = {"format": kind, "split": split, "phase": phase, "shard": shard, "path": path}
            entry |= {"also": [{"path": other} for other in also], "n_tokens": 10_000_000}
            shards.append(entry)
    return {"shards": shards, "domains": [{"name": "all", "available_tokens": 5}]}


def expand(pattern: str) -> list[str]:
    """What the braces of a shell stand for."""
    found = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", pattern)
    if not found:
        return [pattern]
    numbers = range(int(found[2]), int(found[3]) + 1)
    return [f"{found[1]}{number:0{len(found[2])}}{found[4]}" for number in numbers]


def read_yaml(files: dict[str, bytes], name: str) -> Any:
    return yaml.safe_load(files[f"mixture/{name}"])


def test_only_what_there_are_shards_for_is_written() -> None:
    names = {
        "arrow": set(),
        "webdataset": {"energon.yaml"},
        "jsonl": {"levanter.yaml"},
        "parquet": {"levanter.yaml"},
        "mds": {"mds_streams.yaml"},
        "megatron": set(),  # without token_files nothing is known of the ids
    }
    for kind, expected in names.items():
        found = {path.removeprefix("mixture/") for path in blend_files(plain(kind))}
        assert found == expected | {"olmix_priors.yaml"}


def test_megatron_s_blend_reads_each_token_once(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    words = blend_files(manifest)["mixture/megatron_blend.txt"].decode().split()
    weights, prefixes = [float(word) for word in words[::2]], words[1::2]
    assert prefixes == [f"megatron/train-{i:05d}-of-00004" for i in range(4)]
    assert sum(weights) == pytest.approx(1, abs=1e-9)
    tokens = [sum(map(len, packed(shard_rows(i), by_bytes(), i))) for i in range(4)]
    assert weights == pytest.approx([count / sum(tokens) for count in tokens], abs=1e-9)
    for prefix in prefixes:
        assert (tmp_path / f"{prefix}.bin").exists()
        assert (tmp_path / f"{prefix}.idx").exists()


def test_megatron_s_splits_and_counts(tmp_path: Path) -> None:
    files = blend_files(made(tmp_path, length=32))
    splits = json.loads(files["mixture/megatron_per_split.json"])
    assert list(splits) == ["train", "valid", "test"]
    assert splits["train"] == files["mixture/megatron_blend.txt"].decode().split()
    assert splits["valid"] == ["1", "megatron/holdout-00000-of-00001"]
    assert splits["test"] is None
    counts = json.loads(files["mixture/megatron_sequences.json"])
    assert set(counts) == {*splits["train"][1::2], "megatron/holdout-00000-of-00001"}
    for shard in range(4):
        n = len(packed(shard_rows(shard), by_bytes(length=32), shard))
        assert counts[f"megatron/train-{shard:05d}-of-00004"] == [n, n + 1]


def test_megatron_s_phases_have_blends_of_their_own(tmp_path: Path) -> None:
    files = blend_files(made(tmp_path))
    for phase, shards in (("warm_up", [0]), ("main", [1, 2]), ("anneal", [3])):
        words = files[f"mixture/megatron_blend_{phase}.txt"].decode().split()
        assert words[1::2] == [f"megatron/train-{i:05d}-of-00004" for i in shards]
        assert sum(map(float, words[::2])) == pytest.approx(1, abs=1e-9)


def test_nanotron(tmp_path: Path) -> None:
    files = blend_files(made(tmp_path, length=32))
    found = read_yaml(files, "nanotron.yaml")
    assert found == {"dataset_folder": ["nanotron/train"], "dataset_weights": [1.0]}
    assert len(list((tmp_path / "nanotron/train").glob("*.ds"))) == 4
    comment = files["mixture/nanotron.yaml"].decode()
    assert "ids have 2 bytes" in comment
    assert "sequence_length 31." in comment
    assert "warm_up, main, anneal" in comment


def test_olmo_core_has_a_source_for_each_phase(tmp_path: Path) -> None:
    files = blend_files(made(tmp_path))
    sources = read_yaml(files, "olmo_core.yaml")["sources"]
    assert [source["source_name"] for source in sources] == ["warm_up", "main", "anneal"]
    assert sum(source["target_ratio"] for source in sources) == pytest.approx(1)
    sizes = [sum((tmp_path / path).stat().st_size for path in s["paths"]) for s in sources]
    shares = [size / sum(sizes) for size in sizes]
    assert [source["target_ratio"] for source in sources] == pytest.approx(shares)
    assert all(source["max_repetition_ratio"] >= 1 for source in sources)
    text = files["mixture/olmo_core.yaml"].decode()
    assert f"requested_tokens can be {sum(sizes) // 2} at most" in text
    assert "do not end" not in text
    without = blend_files(made(tmp_path / "without", eos=None))
    assert "Documents do not end" in without["mixture/olmo_core.yaml"].decode()


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_levanter_without_phases(kind: str) -> None:
    manifest = plain(kind)
    data = read_yaml(blend_files(manifest), "levanter.yaml")["data"]
    assert data["train_weights"] == {"main": 1.0, "holdout": 0.0}
    assert set(data["configs"]) == set(data["train_weights"])
    (pattern,) = data["configs"]["main"]["train_urls"]
    listed = [shard["path"] for shard in manifest["shards"]]
    assert expand(pattern) == listed[:-1]
    assert data["configs"]["holdout"]["validation_urls"] == listed[-1:]


def test_levanter_with_phases() -> None:
    manifest = plain("jsonl", phases=PHASES, held_out=0)
    data = read_yaml(blend_files(manifest, tokens_per_step=100_000), "levanter.yaml")["data"]
    stages = data["train_weights"]
    assert [step for step, _ in stages] == [0, 100, 300]
    for (_, weights), phase in zip(stages, ("warm_up", "main", "anneal"), strict=True):
        assert weights == dict.fromkeys(data["configs"], 0.0) | {phase: 1.0}
    urls = [expand(config["train_urls"][0]) for config in data["configs"].values()]
    assert sum(urls, []) == [shard["path"] for shard in manifest["shards"]]  # noqa: RUF017
    large = read_yaml(blend_files(manifest, tokens_per_step=10**12), "levanter.yaml")["data"]
    assert [step for step, _ in large["train_weights"]] == [0, 1, 2]


def test_mosaicml_streams() -> None:
    streams = read_yaml(blend_files(plain("mds")), "mds_streams.yaml")["streams"]
    assert list(streams) == ["train", "holdout"]
    for split, stream in streams.items():
        assert f"{stream['local']}/{stream['split']}" == f"mds/{split}"
        assert set(stream) & {"proportion", "repeat", "choose"} == {"repeat"}


def test_energon_s_metadataset() -> None:
    files = blend_files(plain("webdataset"))
    found = read_yaml(files, "energon.yaml")
    assert (found["__module__"], found["__class__"]) == ("megatron.energon", "MetadatasetV2")
    assert found["splits"]["train"] == {"blend": [{"weight": 1.0, "path": "../wds"}]}
    assert found["splits"]["val"] == {"path": "../wds"}
    assert "energon prepare wds" in files["mixture/energon.yaml"].decode()
    alone = read_yaml(blend_files(plain("webdataset", held_out=0)), "energon.yaml")
    assert list(alone["splits"]) == ["train"]


def test_olmix_priors(tmp_path: Path) -> None:
    priors = read_yaml(blend_files(made(tmp_path)), "olmix_priors.yaml")["priors"]
    assert priors["token_counts"] == {"law: old & new": 300, "Küche": 100}
    assert priors["relative_sizes"] == {"law: old & new": 0.75, "Küche": 0.25}


def test_every_yaml_says_where_its_paths_start(tmp_path: Path) -> None:
    files = blend_files(made(tmp_path)) | blend_files(plain("mds", "jsonl"))
    for path, data in files.items():
        if path.endswith(".yaml") and "priors" not in path:
            assert b"# Paths are relative to the corpus" in data
