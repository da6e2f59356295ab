"""The classify step: scores aligned with documents, whatever it is cut into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics.metric import MetricsFilter

from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.models import text_classifier
from mixcurate.models.text_classifiers import ClassifierSpec
from mixcurate.params import ClassifierParams
from mixcurate.transforms import classify
from mixcurate.transforms.classify import (
    Classify,
    ClassifyPart,
    classified_path,
    read_classified,
    shared_classifier,
)
from mixcurate.transforms.runner import make_pipeline, parse_beam_args
from mixcurate.transforms.tasks import Task
from tests.models.encoding import has_package
from tests.models.fasttext_files import FastTextFile
from tests.transforms.small_workdir import write_documents

pytestmark = pytest.mark.skipif(not has_package("fasttext"), reason="needs fasttext")

TASKS = [Task("a-00000", "f"), Task("b-00000", "f")]


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    found = Workdir(str(tmp_path / "work"))
    for task, rows in zip(TASKS, (70, 30), strict=True):
        write_documents(found, task.name, rows)
    return found


@pytest.fixture
def spec(tmp_path: Path) -> ClassifierSpec:
    path = FastTextFile().write(tmp_path / "model.bin")
    return text_classifier.resolve(ClassifierParams(name="hq", model=str(path), label="hq"))


def run(workdir: Workdir, spec: ClassifierSpec, threads: int = 1) -> list[bytes]:
    """The bytes of each part's file."""
    found = []
    for task in TASKS:
        ClassifyPart(workdir, spec, threads).run(task, Heartbeat(workdir, "x", task.name))
        found.append(Path(classified_path(workdir, "hq", task.name)).read_bytes())
    return found


def test_scores_are_in_the_order_of_the_documents(workdir, spec):
    result = ClassifyPart(workdir, spec, 2).run(TASKS[0], Heartbeat(workdir, "x", "a-00000"))
    table = pq.read_table(classified_path(workdir, "hq", "a-00000"))
    assert table.schema.names == ["score"]
    assert str(table.schema.field("score").type) == "float"
    texts = pq.read_table(workdir.part("ingest", "a-00000"), columns=["text"])["text"].to_pylist()
    classifier = shared_classifier(spec, 1)
    alone = [next(iter(classifier.score([[text]], classify.ClassifyStats())))[0] for text in texts]
    np.testing.assert_array_equal(read_classified(workdir, "hq", "a-00000"), alone)
    assert len(set(alone)) > 30
    assert result.documents_in == result.documents_out == 70
    assert result.outputs[0].path == "_stages/classify/hq/part-a-00000.parquet"


def test_neither_threads_nor_the_window_change_a_byte(workdir, spec, monkeypatch):
    plain = run(workdir, spec)
    assert run(workdir, spec, threads=3) == plain
    monkeypatch.setattr(classify, "_LOADED", {})
    shared_classifier(spec, 1).window = 7
    assert run(workdir, spec) == plain


def test_texts_are_read_window_by_window(workdir, spec, monkeypatch):
    monkeypatch.setattr(classify, "_LOADED", {})
    classifier = shared_classifier(spec, 1)
    classifier.window = 10
    sizes: list[int] = []
    score = classifier.score

    def counted(batches, *rest):
        return score((sizes.append(len(texts)) or texts for texts in batches), *rest)

    monkeypatch.setattr(classifier, "score", counted)
    run(workdir, spec)
    assert sizes == [10] * 10


def test_a_part_without_documents_has_a_file_without_rows(workdir, spec):
    write_documents(workdir, "a-00000", 0)
    run(workdir, spec)
    assert read_classified(workdir, "hq", "a-00000").shape == (0,)


def test_a_document_without_text_has_no_score(workdir, spec):
    table = write_documents(workdir, "a-00000", 3)
    path = workdir.part("ingest", "a-00000")
    texts = [["one", "", None]]
    pq.write_table(table.set_column(table.schema.get_field_index("text"), "text", texts), path)
    run(workdir, spec)
    found = read_classified(workdir, "hq", "a-00000")
    assert np.isnan(found).tolist() == [False, True, True]


def test_the_step_reports_what_a_job_is_watched_by(workdir, spec):
    pipeline = make_pipeline(parse_beam_args([]), job_name="x", work_seconds=0)
    Classify(ClassifyPart(workdir, spec, threads=2), TASKS, {}).build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("mixcurate.classify/hq"))
    counters = {counter.key.metric.name: counter.committed for counter in found["counters"]}
    assert counters["documents"] == 100
    assert counters["tokens"] == 400  # four words each
    assert counters["not_judged_documents"] == 0
    assert set(workdir.committed("classify/hq")) == {"a-00000", "b-00000"}
