from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import storage
from mixcurate.io.workdir import DATA_FOLDERS, Heartbeat, Part, Success, TaskResult, Workdir


@pytest.fixture(params=["local", "memory"])
def workdir(request: pytest.FixtureRequest, tmp_path: Path) -> Workdir:
    return Workdir(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4()}")


def run(workdir: Workdir, name: str, data: bytes = b"data") -> TaskResult:
    """A task as a stage would do it: write, describe, commit."""
    path = workdir.part("ingest", name)
    storage.write_bytes(path, data)
    result = TaskResult(
        task=name,
        fingerprint="f1",
        outputs=[workdir.output(path)],
        documents_in=5,
        documents_out=3,
        tokens=70,
        rejected={"empty": 2},
        seconds=1.5,
        details={"parts": [{"name": name}]},
    )
    workdir.commit("ingest", result)
    return result


def test_paths_are_those_of_the_data_contract():
    workdir = Workdir("gs://bucket/run")
    assert workdir.part("ingest", "0001") == "gs://bucket/run/documents/part-0001.parquet"
    assert workdir.part("embed", "0001") == "gs://bucket/run/embeddings/part-0001.arrow"
    assert workdir.part("cluster", "a") == "gs://bucket/run/assignments/part-a.parquet"
    assert workdir.part("score", "a") == "gs://bucket/run/scores/part-a.parquet"
    assert workdir.rejected("ingest", "a") == "gs://bucket/run/rejected/part-ingest-a.parquet"
    assert workdir.success_path("ingest") == "gs://bucket/run/documents/_SUCCESS"
    assert workdir.tasks_folder("plan") == "gs://bucket/run/_stages/plan/tasks"


def test_what_is_committed_comes_back_as_it_was(workdir):
    results = {name: run(workdir, name) for name in ("b", "a")}
    assert workdir.committed("ingest") == results
    assert list(workdir.committed("ingest")) == ["a", "b"]
    assert workdir.committed("embed") == {}


def test_a_second_commit_replaces_the_first(workdir):
    run(workdir, "a")
    second = run(workdir, "a", b"other data")
    assert workdir.committed("ingest") == {"a": second}


def test_an_output_is_described_by_its_place_size_and_content(workdir):
    (output,) = run(workdir, "a", b"12345").outputs
    assert output.path == "documents/part-a.parquet"
    assert output.bytes == 5
    assert output.digest == storage.digest(workdir.path(output.path))


@pytest.mark.parametrize("harm", ["missing", "cut", "grown"])
def test_a_task_is_whole_until_an_output_is_harmed(workdir, harm):
    result = run(workdir, "a", b"12345")
    assert workdir.is_whole(result)
    path = workdir.part("ingest", "a")
    if harm == "missing":
        storage.remove(path)
    else:
        storage.write_bytes(path, b"123" if harm == "cut" else b"1234567")
    assert not workdir.is_whole(result)


def test_a_discarded_task_leaves_nothing_and_the_others_alone(workdir):
    result, other = run(workdir, "a"), run(workdir, "b")
    workdir.discard("ingest", result)
    assert workdir.committed("ingest") == {"b": other}
    assert not storage.exists(workdir.part("ingest", "a"))
    assert workdir.is_whole(other)
    workdir.discard("ingest", result)  # again, as after a kill in the middle


COUNTS = st.integers(0, 2**53)
PARTS = st.lists(st.builds(Part, st.text("abc-0", min_size=1), COUNTS, COUNTS, st.text(max_size=5)))
REJECTED = st.dictionaries(st.text("abc_", min_size=1, max_size=5), COUNTS, max_size=3)


@given(st.text("0123abc", max_size=8), PARTS, COUNTS, REJECTED, st.floats(0, 1e6))
@settings(max_examples=50, deadline=None)
def test_success_comes_back_as_it_was(fingerprint, parts, count, rejected, seconds):
    workdir = Workdir(f"memory://{uuid.uuid4()}")
    success = Success(
        fingerprint=fingerprint,
        parts=parts,
        documents_in=count,
        documents_out=count,
        tokens=count,
        rejected=rejected,
        seconds=seconds,
        details={"weighted_tokens": {"0": 1.5}},
    )
    workdir.write_success("score", success)
    assert workdir.success("score") == success
    storage.remove(workdir.root)


def test_a_stage_has_no_success_before_it_ends_and_after_it_is_cleared(workdir):
    assert workdir.success("ingest") is None
    workdir.clear_success("ingest")
    workdir.write_success("ingest", Success("f", [], 0, 0, 0, {}, 0.0))
    assert workdir.success("ingest") is not None
    assert workdir.success("embed") is None
    workdir.clear_success("ingest")
    assert workdir.success("ingest") is None


def test_clearing_removes_what_a_killed_run_left_and_keeps_what_is_committed(workdir):
    result = run(workdir, "a")
    for folder in ("documents", "rejected", "_stages/ingest/tasks", "embeddings"):
        storage.write_bytes(workdir.path(folder, ".tmp-part-b.parquet.123"), b"half")
    workdir.clear_success("ingest")
    assert workdir.committed("ingest") == {"a": result}
    assert workdir.is_whole(result)
    assert storage.list_names(workdir.path("documents")) == ["part-a.parquet"]
    assert storage.list_names(workdir.path("rejected")) == []
    assert storage.list_names(workdir.path("_stages/ingest/tasks")) == ["a.json"]
    assert storage.list_names(workdir.path("embeddings")) != []  # another stage's


def test_a_half_written_manifest_does_not_count(workdir):
    run(workdir, "a")
    folder = workdir.tasks_folder("ingest")
    storage.write_bytes(storage.join(folder, ".tmp-b.json.77"), b'{"task": "b"')
    assert list(workdir.committed("ingest")) == ["a"]


def test_every_stage_has_a_data_folder_of_its_own():
    assert len(set(DATA_FOLDERS.values())) == len(DATA_FOLDERS)


def test_a_heartbeat_adds_up_and_ends_with_the_task(tmp_path, monkeypatch):
    clock = iter([0.0, 0.1, 0.6, 0.7, 1.2])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    workdir = Workdir(str(tmp_path))
    path = workdir.path("_stages", "ingest", "progress", "a.json")
    heartbeat = Heartbeat(workdir, "ingest", "a")
    shown = []
    for _ in range(4):
        heartbeat.beat(10, 100)
        shown.append(storage.read_json(path)["documents"] if os.path.exists(path) else None)
    assert shown == [None, 20, 20, 40]
    assert storage.read_json(path) == {"documents": 40, "tokens": 400}
    heartbeat.stop()
    assert not os.path.exists(path)


def test_a_heartbeat_is_silent_on_a_remote_workdir(monkeypatch):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    workdir = Workdir(f"memory://{uuid.uuid4()}")
    heartbeat = Heartbeat(workdir, "ingest", "a")
    heartbeat.beat(10, 100)
    heartbeat.stop()
    assert storage.glob(workdir.root) == []


def test_earlier_stages_may_be_those_of_another_workdir(tmp_path):
    parent = Workdir(str(tmp_path / "parent"))
    result = run(parent, "a")
    parent.write_success("ingest", Success("f1", [Part("a", 3, 70, "d")], 5, 3, 70, {}, 1.5))
    workdir = Workdir(str(tmp_path / "proxy"), below=parent.root)
    assert workdir.success("ingest") == parent.success("ingest")
    assert workdir.committed("ingest") == {"a": result}
    assert workdir.is_whole(result)
    for stage in ("ingest", "embed", "cluster", "score"):
        assert workdir.part(stage, "a") == parent.part(stage, "a")
        assert workdir.tasks_folder(stage) == parent.tasks_folder(stage)
    assert workdir.centroids == parent.centroids
    for name in ("domains.parquet", "_stages/score/pool.json", "_stages/diversity/note.json"):
        assert workdir.path(name) == workdir.path(*name.split("/")) == parent.path(name)


def test_what_later_stages_write_is_never_in_the_workdir_below(tmp_path):
    parent = Workdir(str(tmp_path / "parent"))
    workdir = Workdir(str(tmp_path / "proxy"), below=parent.root)
    for name in ("plan.json", "recipe.yaml", "metrics.json", "corpus", "_stages", "report.html"):
        assert workdir.path(name) == f"{workdir.root}/{name}"
    for stage in ("plan", "materialize"):
        assert workdir.success_path(stage).startswith(workdir.root)
        assert workdir.rejected(stage, "a").startswith(workdir.root)
    for stage in ("plan", "select", "exchange", "materialize", "preference", "target"):
        assert workdir.tasks_folder(stage).startswith(workdir.root)
    workdir.clear_success("plan")
    workdir.write_success("plan", Success("f1", [], 0, 0, 0, {}, 0.0))
    assert parent.success("plan") is None
    assert not storage.exists(parent.root)


@pytest.mark.parametrize("remote", [False, True])
def test_a_workdir_that_is_opened_has_the_one_below(tmp_path, remote):
    parent = f"memory://{uuid.uuid4()}/work" if remote else str(tmp_path / "work")
    made = Workdir(f"{parent}/proxies/10", below=parent)
    made.write_below()
    assert Workdir.open(made.root) == made
    assert Workdir.open(parent) == Workdir(parent)
    with pytest.raises(ValueError, match="is not inside"):
        Workdir(f"{parent}-2", below=parent).write_below()


def test_both_workdirs_may_be_moved(tmp_path, monkeypatch):
    parent = tmp_path / "work"
    Workdir(str(parent / "proxies" / "10"), below=str(parent)).write_below()
    parent.rename(tmp_path / "moved")
    found = Workdir.open(str(tmp_path / "moved" / "proxies" / "10"))
    assert found.below == str(tmp_path / "moved")
    monkeypatch.chdir(found.root)
    (tmp_path / "moved" / "documents").mkdir()
    assert os.path.isdir(Workdir.open(".").path("documents"))


def test_rejected_rows_are_those_of_the_stages_below_and_the_own_ones(tmp_path):
    parent = Workdir(str(tmp_path))
    workdir = Workdir(parent.path("proxies", "10"), below=parent.root)
    for one, stages in ((parent, ("cluster", "extract", "plan")), (workdir, ("plan",))):
        for stage in stages:
            storage.write_bytes(one.rejected(stage, "a"), b"")
        storage.write_bytes(one.path("rejected", "other"), b"")
    earlier = [parent.rejected("cluster", "a"), parent.rejected("extract", "a")]
    assert parent.rejected_files() == [*earlier, parent.rejected("plan", "a")]
    assert workdir.rejected_files() == [*earlier, workdir.rejected("plan", "a")]
