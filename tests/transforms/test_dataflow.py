"""Every stage translates for Dataflow without network; only models ask for an accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as api

from mixcurate.io.readers import InputParams
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.cells import Membership, Partition
from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.clustering import ClusterParams, SemanticDedupParams
from mixcurate.kernels.quality import HEURISTICS
from mixcurate.kernels.scoring import DiversityParams, WeightParams
from mixcurate.kernels.shards import ShardRange
from mixcurate.models.encoders import EmbedParams, EncoderSpec
from mixcurate.models.text_classifiers import ClassifierSpec
from mixcurate.recipe import Recipe
from mixcurate.transforms import (
    classify,
    cluster,
    diversity,
    embed,
    ingest,
    label,
    materialize,
    pool,
    prototypes,
    quality,
    score,
    select,
    semantic,
)
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.count_cells import CountCells, CountPlan
from mixcurate.transforms.draw_pool import PoolPlan
from mixcurate.transforms.runner import BeamArgs, make_pipeline, parse_beam_args
from mixcurate.transforms.semantic_compare import CompareBucket
from mixcurate.transforms.semantic_exchange import ExchangePart
from mixcurate.transforms.tasks import Split, Task
from mixcurate.transforms.write_shard import WriteShard
from pipelines.classify import step
from pipelines.embed import stage
from pipelines.job import Job
from pipelines.progress import Reporter
from pipelines.reuse import Reuse

pytest.importorskip("google.cloud.storage", reason="needs the extra gcp")

IMAGE = "example.org/mixcurate:1"
ARGS = parse_beam_args(
    [
        "--runner=DataflowRunner",
        "--project=project-x",
        "--region=us-central1",
        "--temp_location=gs://bucket/temp",
        "--staging_location=gs://bucket/staging",
        f"--sdk_container_image={IMAGE}",
        "--sdk_location=container",
        "--dry_run=True",
        "--no_auth",
    ]
)
WORKDIR = Workdir("gs://bucket/work")
TASKS = [Task("a-00000", "f"), Task("b-00000", "f")]
NOTHING_DONE = Split([], TASKS)
KEPT = np.array([True, False, True])
RULES = label.LabelRules((), 2, 2.0, grouped=False, dedup=False, prototypes=None, seed=17)


RECIPE = {"name": "small", "workdir": WORKDIR.root, "inputs": [{"path": "x"}]}
SPEC = EncoderSpec("embedded", None, "0", "torch", "fp16", "cuda", 256)


CLASSIFIER = ClassifierSpec(
    "edu", "transformers", "owner/edu", None, "0", "value", None, (0.0, 5.0), 512, "fp16", "cuda"
)


def classify_step(runner: BeamArgs = ARGS) -> classify.Classify:
    """As the step's driver builds it."""
    recipe = Recipe.model_validate(RECIPE)
    job = Job(recipe, ".", WORKDIR, runner, Reporter(quiet=True))
    return step(job, CLASSIFIER, EmbedParams().accelerator, TASKS)


def embed_stage(runner: BeamArgs = ARGS) -> embed.Embed:
    """As the stage's driver builds it."""
    recipe = Recipe.model_validate(RECIPE)
    job = Job(recipe, ".", WORKDIR, runner, Reporter(quiet=True))
    return stage(job, SPEC, Reuse(), TASKS)


def stages() -> dict[str, Callable[[beam.Pipeline], None]]:
    weigh = pool.WeighPlan(WeightParams(normalise="rank"), 2, None, 17)
    cells = CellsOf(Partition.of(("domain",), [(0,), (1,)]), Membership(17, 0.1, 0.9))
    goals = np.array([[5, 10], [0, 10]])
    plan = select.DrawPlan(cells, goals, np.array([2.0, 2.0]), goals[:, 1], 4, None, 8)
    counting = CountPlan(PoolPlan(("tier",), Membership(17)), (0.5,), True)
    parts = [task.name for task in TASKS]
    return {
        "ingest": ingest.Ingest(
            ingest.Extract(WORKDIR, [InputParams(path="x")], IngestParams(), {}, 1),
            NOTHING_DONE,
            {},
            4,
        ).build,
        "embed": embed_stage().build,
        "classify": classify_step().build,
        "cluster": cluster.FitAndAssign(
            cluster.FitPlan(ClusterParams(), 8, 500, 0.5, 17, "f", False, {}),
            parts,
            False,
            cluster.AssignPart(WORKDIR),
            NOTHING_DONE,
        ).build,
        "cluster: semantic": semantic.SemanticDedup(
            ExchangePart(WORKDIR, SemanticDedupParams(), 17, "cosine", KEPT, KEPT.astype(int), 100),
            CompareBucket(WORKDIR, SemanticDedupParams(), 17),
            parts,
            "m",
            NOTHING_DONE,
            {},
            {},
            False,
        ).build,
        "cluster: prototypes": prototypes.FindPrototypes(
            prototypes.Pool(WORKDIR, KEPT, 17, False), parts, 0.2
        ).build,
        "cluster: label": label.Label(
            label.LabelPart(WORKDIR, RULES),
            [],
            TASKS,
        ).build,
        "score: diversity": diversity.Diversity(
            diversity.MeasurePart(
                WORKDIR, diversity.DiversityPlan(DiversityParams(), 8, "cosine", 0.5, 17, "f")
            ),
            parts,
            False,
            NOTHING_DONE,
        ).build,
        "quality": quality.JudgeQuality(
            quality.QualityPart(WORKDIR, HEURISTICS, (), "fail"), TASKS
        ).build,
        "score": score.Score(score.ScorePart(WORKDIR, weigh), parts, TASKS, parts).build,
        "plan: count": CountCells(WORKDIR, counting, parts).build,
        "plan": select.Select(select.SelectPart(WORKDIR, plan), parts, TASKS).build,
        "materialize": materialize.Materialize(
            materialize.ExchangeParts(WORKDIR, (ShardRange("train", "main", 4),), ("a", "b")),
            WriteShard(WORKDIR, "gs://bucket/work/corpus", ("arrow",), "f"),
            parts,
            NOTHING_DONE,
            {},
        ).build,
    }


def translated(stage: str) -> api.Pipeline:
    pipeline = make_pipeline(ARGS, job_name="test", work_seconds=0)
    stages()[stage](pipeline)
    return pipeline.run().job.proto_pipeline


def steps(proto: api.Pipeline) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(name, container image, resource hints) of each step that runs on workers."""
    for transform in proto.components.transforms.values():
        if not transform.subtransforms and transform.environment_id:
            environment = proto.components.environments[transform.environment_id]
            image = api.DockerPayload.FromString(environment.payload).container_image
            hints = {
                urn.split(":")[-2]: value.decode()
                for urn, value in environment.resource_hints.items()
            }
            yield transform.unique_name, image, hints


@pytest.mark.parametrize("stage", list(stages()))
def test_a_stage_translates_and_only_models_ask_for_a_gpu(stage: str) -> None:
    found = list(steps(translated(stage)))
    assert {image for _, image, _ in found} == {IMAGE}
    hinted = [name for name, _, hints in found if hints]
    assert hinted == {"embed": ["Embed"], "classify": ["Classify"]}.get(stage, [])


@pytest.mark.parametrize("stage", ["embed", "classify"])
def test_the_hint_is_the_recipes_and_sits_between_fusion_breaks(stage: str) -> None:
    proto = translated(stage)
    (hints,) = [hints for name, _, hints in steps(proto) if name == stage.capitalize()]
    assert hints["accelerator"] == EmbedParams().accelerator
    assert ("min_ram_bytes" in hints) == (stage == "embed")
    assert int(hints.get("min_ram_bytes", 16_000_000_000)) == 16_000_000_000
    transforms = proto.components.transforms.values()
    makers = {
        output: transform for transform in transforms for output in transform.outputs.values()
    }
    (hinted_step,) = [t for t in transforms if t.unique_name == stage.capitalize()]
    (source,) = hinted_step.inputs.values()
    assert "spread" in makers[source].unique_name
    reshuffles = [t.unique_name for t in transforms if t.spec.urn == "beam:transform:reshuffle:v1"]
    assert {"Parts: spread", "Release the GPU"} <= set(reshuffles)


def test_on_dataflow_one_process_owns_the_model() -> None:
    pipeline = make_pipeline(
        ARGS, job_name="x", work_seconds=0, experiments=("no_use_multiple_sdk_containers",)
    )
    experiments = pipeline.options.get_all_options()["experiments"]
    assert "no_use_multiple_sdk_containers" in experiments


@pytest.mark.parametrize("build", [embed_stage, classify_step])
def test_a_local_run_sets_no_hints(
    build: Callable[[BeamArgs], embed.Embed | classify.Classify],
) -> None:
    pipeline = make_pipeline(parse_beam_args([]), job_name="x", work_seconds=0)
    build(parse_beam_args([])).build(pipeline)
    assert not any(hints for _, _, hints in steps(pipeline.to_runner_api()))
