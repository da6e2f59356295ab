"""What the embed step tells Beam, and that its memory and bytes do not go with how it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics.metric import MetricsFilter

from mixcurate.io.embeddings import read_embeddings
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.models.encoders import EmbedParams
from mixcurate.models.resolve import resolve
from mixcurate.transforms.embed import Embed, EmbedPart, shared_encoder
from mixcurate.transforms.runner import make_pipeline, parse_beam_args
from mixcurate.transforms.tasks import Task
from tests.pipelines.conftest import invoke, write_job
from tests.pipelines.test_embed import static_model


@pytest.fixture
def job(tmp_path: Path) -> tuple[Workdir, list[Task]]:
    """Documents in parts, and a task for each."""
    assert invoke("ingest", write_job(tmp_path, 120), "--quiet").exit_code == 0
    parts = sorted((tmp_path / "work/documents").glob("part-*.parquet"))
    tasks = [Task(part.stem.removeprefix("part-"), "f") for part in parts]
    return Workdir(str(tmp_path / "work")), tasks


def test_the_step_reports_what_a_job_is_watched_by(job, tmp_path):
    workdir, tasks = job
    spec = resolve(EmbedParams(backend="torch", max_tokens=16))
    pipeline = make_pipeline(parse_beam_args([]), job_name="x", work_seconds=0)
    Embed(EmbedPart(workdir, spec, threads=2), tasks, {}).build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("mixcurate.embed"))
    counters = {counter.key.metric.name: counter.committed for counter in found["counters"]}
    timings = {timing.key.metric.name: timing.committed for timing in found["distributions"]}
    assert counters["documents"] == sum(
        pq.read_metadata(workdir.part("ingest", task.name)).num_rows for task in tasks
    )
    assert counters["tokens"] > 10 * counters["documents"]
    assert 0 <= counters["padding_tokens"] < counters["tokens"] / 5
    assert counters["not_finite_documents"] == counters["copied_documents"] == 0
    assert timings["device_milliseconds"].count == len(tasks)
    assert timings["device_milliseconds"].sum > 0
    assert timings["wait_milliseconds"].count == len(tasks)
    assert timings["load_milliseconds"].sum > 100


def test_the_size_of_a_window_changes_no_byte(job, tmp_path, monkeypatch):
    workdir, tasks = job
    spec = resolve(EmbedParams(model=str(static_model(tmp_path / "m"))))
    stored = []
    for window in (2_048, 7, 1):
        part = EmbedPart(workdir, spec, threads=1)
        monkeypatch.setattr("mixcurate.transforms.embed._LOADED", {})
        shared_encoder(spec, 1).window = window
        result = part.run(tasks[0], Heartbeat(workdir, "embed", tasks[0].name))
        stored.append(Path(workdir.part("embed", tasks[0].name)).read_bytes())
        assert result.documents_out == len(read_embeddings(workdir.part("embed", tasks[0].name)))
    assert stored[0] == stored[1] == stored[2]


def test_windows_are_read_one_by_one(job, tmp_path, monkeypatch):
    """No more texts are in memory than the windows that are under way."""
    workdir, tasks = job
    spec = resolve(EmbedParams(model=str(static_model(tmp_path / "m"))))
    monkeypatch.setattr("mixcurate.transforms.embed._LOADED", {})
    encoder = shared_encoder(spec, 1)
    encoder.window = 10
    sizes: list[int] = []
    tokenize = encoder._tokenizer.tokenize
    monkeypatch.setattr(
        encoder._tokenizer,
        "tokenize",
        lambda texts: (sizes.append(len(texts)), tokenize(texts))[1],
    )
    part = EmbedPart(workdir, spec, threads=1)
    part.run(tasks[0], Heartbeat(workdir, "embed", tasks[0].name))
    assert len(sizes) > 1
    assert max(sizes) == 10
    assert sum(sizes) == pq.read_metadata(workdir.part("ingest", tasks[0].name)).num_rows
    assert np.isfinite(read_embeddings(workdir.part("embed", tasks[0].name))).all()
