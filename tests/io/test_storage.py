from __future__ import annotations

import builtins
import concurrent.futures
import os
import uuid
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import MissingExtra, OutputError
from mixcurate.io import storage


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "here") if request.param == "local" else f"memory://{uuid.uuid4()}"


def test_an_absolute_path_and_a_url_begin_anew() -> None:
    assert storage.join("/work", "a", "b") == "/work/a/b"
    assert storage.join("gs://bucket/run", "a") == "gs://bucket/run/a"
    assert storage.join("/work", "/other/a") == "/other/a"
    assert storage.join("/work", "gs://bucket/corpus/a.arrow") == "gs://bucket/corpus/a.arrow"
    assert storage.join("gs://bucket/run", "s3://other", "a") == "s3://other/a"


class Killed(BaseException):
    """What is not an ``Exception`` must not leave half a file either."""


def paths(pattern: str) -> list[str]:
    return [found.path for found in storage.glob(pattern)]


def test_what_is_written_is_read_again(folder):
    path = storage.join(folder, "a", "b.bin")
    storage.write_bytes(path, b"one")
    assert storage.read_bytes(path) == b"one"
    assert storage.exists(path)
    assert storage.size(path) == 3
    assert storage.info(path).size == 3


def test_a_second_write_replaces_the_whole_file(folder):
    path = storage.join(folder, "a.bin")
    storage.write_bytes(path, b"a long first version")
    storage.write_bytes(path, b"short")
    assert storage.read_bytes(path) == b"short"
    assert storage.list_names(folder) == ["a.bin"]


def write_half(path: str, error: type[BaseException]) -> None:
    with storage.open_atomic(path) as stream:
        stream.write(b"half of it")
        stream.flush()
        raise error


@pytest.mark.parametrize("error", [ValueError, Killed])
def test_an_error_leaves_nothing(folder, error):
    path = storage.join(folder, "a.bin")
    with pytest.raises(error):
        write_half(path, error)
    assert not storage.exists(path)
    assert storage.list_names(folder) == []


@pytest.mark.parametrize("error", [ValueError, Killed])
def test_an_error_leaves_the_old_file(folder, error):
    path = storage.join(folder, "a.bin")
    storage.write_bytes(path, b"old")
    with pytest.raises(error):
        write_half(path, error)
    assert storage.read_bytes(path) == b"old"
    assert storage.list_names(folder) == ["a.bin"]


def test_a_file_is_not_there_before_it_is_whole(folder):
    path = storage.join(folder, "a.bin")
    with storage.open_atomic(path) as stream:
        stream.write(b"some")
        stream.flush()
        assert not storage.exists(path)
    assert storage.exists(path)


def test_a_stream_that_its_user_closes_is_kept(folder):
    path = storage.join(folder, "a.bin")
    with storage.open_atomic(path) as stream:
        stream.write(b"all")
        stream.close()
    assert storage.read_bytes(path) == b"all"


def test_a_reader_of_the_old_file_keeps_it(tmp_path):
    path = str(tmp_path / "a.bin")
    storage.write_bytes(path, b"old")
    with storage.open_read(path) as stream:
        storage.write_bytes(path, b"new version")
        assert stream.read() == b"old"


def test_a_path_without_a_folder_is_written_where_we_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage.write_bytes("a.bin", b"one")
    storage.link("a.bin", "b.bin")
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "b.bin"]


def test_json_is_indented_sorted_and_comes_back(folder):
    path = storage.join(folder, "a.json")
    value = {"b": [1, 2.5, None], "a": {"ü": True}}
    storage.write_json(path, value)
    assert storage.read_json(path) == value
    assert storage.read_bytes(path).decode() == (
        '{\n  "a": {\n    "ü": true\n  },\n  "b": [\n    1,\n    2.5,\n    null\n  ]\n}\n'
    )


def test_a_glob_is_sorted_and_has_files_only(folder):
    names = ["b.txt", "a.txt", "c.bin", "sub/d.txt", "sub/deep/e.txt", "a.txt.d/f.bin"]
    for name in names:
        storage.write_bytes(storage.join(folder, name), name.encode())
    assert (
        paths(storage.join(folder, "*.txt"))
        == [storage.join(folder, name) for name in ("a.txt", "b.txt")]
        or storage.filesystem(folder)[0].protocol == "memory"
    )
    shown = [path.rsplit("/", 1)[1] for path in paths(storage.join(folder, "*.txt"))]
    assert shown == ["a.txt", "b.txt"]
    found = storage.glob(storage.join(folder, "**", "*.txt"))
    assert [f.path.rsplit("/", 1)[1] for f in found] == ["a.txt", "b.txt", "d.txt", "e.txt"]
    assert [f.size for f in found] == [5, 5, len("sub/d.txt"), len("sub/deep/e.txt")]


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_stands_for_every_file_below_it(folder, ending):
    for name in ("b.txt", "a/c.txt", "a/.hidden"):
        storage.write_bytes(storage.join(folder, name), b"x")
    found = paths(folder + ending)
    assert [os.path.basename(path) for path in found] == [".hidden", "c.txt", "b.txt"]


def test_what_a_glob_finds_can_be_opened(folder):
    storage.write_bytes(storage.join(folder, "a.txt"), b"content")
    (found,) = storage.glob(storage.join(folder, "*"))
    assert storage.read_bytes(found.path) == b"content"
    assert storage.info(found.path).size == found.size == 7


@pytest.mark.parametrize("name", ["a[1].txt", "what?.txt", "star*.txt", "in [x]/b.txt"])
def test_an_existing_name_stands_for_itself_whatever_characters_it_has(folder, name):
    storage.write_bytes(storage.join(folder, name), b"x")
    storage.write_bytes(storage.join(folder, "a1.txt"), b"x")
    assert [path.endswith(name) for path in paths(storage.join(folder, name))] == [True]
    if "/" in name:
        assert len(paths(storage.join(folder, "in [x]"))) == 1


def test_a_glob_that_matches_nothing_is_empty(folder):
    storage.write_bytes(storage.join(folder, "a.txt"), b"x")
    assert storage.glob(storage.join(folder, "*.bin")) == []
    assert storage.glob(storage.join(folder, "missing", "*")) == []


def test_a_changed_file_has_another_version(tmp_path):
    path = str(tmp_path / "a.bin")
    storage.write_bytes(path, b"one")
    os.utime(path, (1, 1))
    before = storage.info(path)
    os.utime(path, (2, 2))
    assert storage.info(path).version != before.version
    assert storage.glob(path) == [storage.info(path)]


def test_names_are_those_directly_in_a_folder(folder):
    for name in ("b", "a", "sub/c"):
        storage.write_bytes(storage.join(folder, name), b"")
    assert storage.list_names(folder) == ["a", "b", "sub"]
    assert storage.list_names(storage.join(folder, "missing")) == []


def test_removing_takes_files_folders_and_what_is_not_there(folder):
    for name in ("a", "sub/b", "sub/c"):
        storage.write_bytes(storage.join(folder, name), b"")
    storage.remove(storage.join(folder, "a"))
    storage.remove(storage.join(folder, "sub"))
    storage.remove(storage.join(folder, "missing"))
    assert storage.list_names(folder) == []


def test_only_what_a_killed_writer_left_is_removed(folder):
    for name in (".tmp-a.parquet.17", "a.parquet", ".hidden"):
        storage.write_bytes(storage.join(folder, name), b"")
    storage.remove_temporaries(folder)
    assert storage.list_names(folder) == [".hidden", "a.parquet"]


def test_a_folder_that_can_be_written_is_left_as_it_was(folder):
    storage.require_writable(folder)
    assert storage.list_names(folder) == []


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    bad = str(tmp_path / "file" / "sub")
    with pytest.raises(OutputError, match=f"cannot write to {bad}: .+ Choose another folder"):
        storage.require_writable(bad)


def test_a_read_only_folder_cannot_be_written(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        storage.require_writable(str(tmp_path))


def test_a_link_is_a_second_name_of_the_same_bytes(folder):
    source, target = storage.join(folder, "a.bin"), storage.join(folder, "sub", "b.bin")
    storage.write_bytes(source, b"content")
    storage.link(source, target)
    assert storage.read_bytes(target) == b"content"
    storage.remove(source)
    assert storage.read_bytes(target) == b"content"


def test_a_link_replaces_an_older_file(folder):
    source, target = storage.join(folder, "a.bin"), storage.join(folder, "b.bin")
    storage.write_bytes(source, b"new")
    storage.write_bytes(target, b"old")
    storage.link(source, target)
    assert storage.read_bytes(target) == b"new"
    assert storage.list_names(folder) == ["a.bin", "b.bin"]


def test_replacing_a_link_leaves_its_source_alone(folder):
    source, target = storage.join(folder, "a.bin"), storage.join(folder, "b.bin")
    storage.write_bytes(source, b"source")
    storage.link(source, target)
    storage.write_bytes(target, b"other")
    assert storage.read_bytes(source) == b"source"


def test_without_hard_links_a_copy_is_made(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    source, target = str(tmp_path / "a"), str(tmp_path / "b")
    storage.write_bytes(source, b"content")
    storage.link(source, target)
    assert storage.read_bytes(target) == b"content"
    assert os.stat(source).st_ino != os.stat(target).st_ino


@given(st.binary(max_size=2_000))
@settings(max_examples=50, deadline=None)
def test_a_digest_is_the_hash_of_the_bytes(data):
    path = f"memory://digest/{uuid.uuid4()}"
    storage.write_bytes(path, data)
    assert storage.digest(path) == f"xxh3:{xxhash.xxh3_128_hexdigest(data)}"
    storage.remove(path)


def test_a_large_file_is_hashed_in_pieces(tmp_path):
    data = os.urandom(9 << 20)
    path = str(tmp_path / "a.bin")
    storage.write_bytes(path, data)
    assert storage.digest(path) == f"xxh3:{xxhash.xxh3_128_hexdigest(data)}"
    assert storage.etag(path) == storage.digest(path)


def test_paths_of_this_machine_are_told_from_urls():
    assert storage.is_local("/a/b")
    assert storage.is_local("a:b/c")
    assert not storage.is_local("gs://bucket/a")


def test_a_scheme_without_its_package_is_refused_with_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_s3fs(name: str, *more: object) -> object:
        if name.partition(".")[0] == "s3fs":
            raise ImportError("No module named 's3fs'")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without_s3fs)
    with pytest.raises(MissingExtra, match=r"support for s3:// paths(.|\n)*pip install s3fs"):
        storage.filesystem("s3://bucket/key")


def test_threads_that_write_one_file_leave_one_of_their_versions(folder):
    path = storage.join(folder, "a.bin")
    versions = [bytes([i]) * 100_000 for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(storage.write_bytes, [path] * 8, versions))
    assert storage.read_bytes(path) in versions
    assert storage.list_names(folder) == ["a.bin"]
