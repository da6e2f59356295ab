"""Corpora elsewhere, and corpora that cannot be read."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from mixcurate.errors import CorpusError, InputError
from mixcurate.io import storage
from mixcurate.loaders import CorpusReader
from mixcurate.tables import CORPUS
from tests.corpora import build
from tests.loaders.made import Made, keys, make

SHARD = "train/data-00002-of-00007.arrow"


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """A corpus that a test may damage."""
    return make(str(tmp_path / "own"))


@pytest.fixture
def remote(made: Made) -> str:
    fs = fsspec.filesystem("memory")
    if fs.exists("/loaders"):
        fs.rm("/loaders", recursive=True)
    for path in sorted(Path(made.path).rglob("*")):
        if path.is_file():
            fs.pipe_file(f"/loaders/{path.relative_to(made.path)}", path.read_bytes())
    return "memory://loaders"


def test_a_corpus_of_an_object_store(made, remote, tmp_path):
    for options in ({}, {"shuffle_buffer": 30}, {"weights": {"law": 2.0}}):
        local = list(CorpusReader(made.path, **options))
        assert list(CorpusReader(remote, cached_shards=1, **options)) == local
        assert list(CorpusReader(remote, cache=str(tmp_path), **options)) == local
    assert len(list(tmp_path.iterdir())) == 7


def test_a_cache_of_its_own_is_bounded_and_goes_away(made, remote, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reader = CorpusReader(remote, cached_shards=2)
    for _ in reader:
        assert len(list(tmp_path.rglob("*.arrow"))) <= 2
    del reader
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_cached_shard_that_is_cut_is_fetched_again(made, remote, tmp_path):
    list(CorpusReader(remote, cache=str(tmp_path)))
    victim = sorted(tmp_path.iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:100])
    assert keys(CorpusReader(remote, cache=str(tmp_path))) == made.keys


def test_lanes_keep_a_rank_to_shards_of_its_own(remote, tmp_path):
    list(CorpusReader(remote, rank=1, world_size=7, lanes=7, cache=str(tmp_path)))
    assert len(list(tmp_path.iterdir())) <= 2


def test_a_shard_that_is_missing_from_an_object_store(remote):
    fsspec.filesystem("memory").rm(f"/loaders/{SHARD}")
    with pytest.raises(CorpusError, match=f"{SHARD} of memory://loaders is damaged: it is missing"):
        list(CorpusReader(remote))


def test_no_manifest(tmp_path):
    with pytest.raises(CorpusError, match=r"has no manifest\.json: the corpus is unfinished"):
        CorpusReader(str(tmp_path))
    with pytest.raises(CorpusError, match=r"has no manifest\.json"):
        CorpusReader("memory://nowhere")


@pytest.mark.parametrize("text", ["{", "[]", '{"shards": []}'])
def test_a_manifest_of_something_else(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CorpusError, match=r"manifest\.json is not"):
        CorpusReader(str(tmp_path))


def test_other_formats_only(tmp_path):
    corpus = build(str(tmp_path), kinds=("webdataset",)).corpus
    with pytest.raises(CorpusError, match=r"only webdataset\. Add 'arrow' to output\.formats"):
        CorpusReader(corpus)


def test_a_shard_that_is_missing(own):
    os.remove(f"{own.path}/{SHARD}")
    with pytest.raises(CorpusError, match=f"{SHARD} of .* is damaged: No such file"):
        list(CorpusReader(own.path))


def test_a_shard_that_is_cut(own):
    data = Path(own.path, SHARD).read_bytes()
    Path(own.path, SHARD).write_bytes(data[:-100])
    with pytest.raises(
        CorpusError, match=rf"expected {len(data):,} bytes, found {len(data) - 100:,}"
    ):
        list(CorpusReader(own.path))


def test_a_shard_of_other_rows(own):
    rows = pa.Table.from_pylist(own.documents[:3], CORPUS)
    replace(own, rows.drop_columns(["url"]), documents=3)
    with pytest.raises(CorpusError, match=f"{SHARD} of .* lacks columns url"):
        list(CorpusReader(own.path))
    other = rows.schema.get_field_index("n_tokens")
    replace(own, rows.set_column(other, "n_tokens", rows.column("text")), documents=3)
    with pytest.raises(CorpusError, match=r"lacks columns n_tokens \(int32\)"):
        list(CorpusReader(own.path))
    replace(own, rows, documents=4)
    with pytest.raises(CorpusError, match="expected 4 documents, found 3"):
        list(CorpusReader(own.path))


def test_a_document_of_a_domain_that_nobody_knows(own):
    rows = [document | {"domain": 7} for document in own.documents[:3]]
    replace(own, pa.Table.from_pylist(rows, CORPUS), documents=3)
    with pytest.raises(CorpusError, match=f"{SHARD} .*: domain 7 is not in the manifest"):
        list(CorpusReader(own.path, weights={"law": 2}))


def replace(corpus: Made, table: pa.Table, documents: int) -> None:
    """Another table in the place of a shard, and a manifest that knows its size."""
    path = f"{corpus.path}/{SHARD}"
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    manifest = storage.read_json(f"{corpus.path}/manifest.json")
    for shard in manifest["shards"]:
        if shard["path"] == SHARD:
            shard |= {"bytes": os.path.getsize(path), "n_documents": documents}
    storage.write_json(f"{corpus.path}/manifest.json", manifest)


@pytest.mark.parametrize("options", [{}, {"weights": {"law": 2.0}}, {"shuffle_buffer": 20}])
def test_any_changed_byte_gives_documents_or_an_error(own, options):
    """Never the end of the process, which is why this runs in another one."""
    data = Path(own.path, SHARD).read_bytes()
    script = f"""
import sys
from pathlib import Path
from mixcurate.errors import CorpusError
from mixcurate.loaders import CorpusReader
path, found = Path({str(own.path)!r}), 0
data = (path / {SHARD!r}).read_bytes()
for at in range(8, len(data), 41):
    changed = bytearray(data)
    changed[at] ^= 0xC1
    (path / {SHARD!r}).write_bytes(changed)
    try:
        list(CorpusReader(str(path), **{options!r}))
    except CorpusError as error:
        found += 1
print(found)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert int(done.stdout) > len(data) // 41 // 20


def test_loaders_import_neither_beam_nor_torch():
    script = (
        "import sys, mixcurate.loaders\n"
        "assert not {'apache_beam', 'torch', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_split_that_is_not_there(made):
    with pytest.raises(InputError, match="no split 'holdout'"):
        CorpusReader(made.path, split="holdout")
