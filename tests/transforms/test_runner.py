from __future__ import annotations

import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import RunnerError
from mixcurate.transforms.runner import BeamArgs, local_processes, make_pipeline, parse_beam_args

CORES = os.cpu_count() or 1


def test_without_options_work_is_local_on_every_core():
    args = parse_beam_args([])
    assert args == BeamArgs("FnApiRunner", (), CORES, None)
    assert args.is_local
    assert not args.is_dataflow


@pytest.mark.parametrize(
    "argv",
    [
        ["--runner=FnApiRunner"],
        ["--runner", "FnApiRunner"],
        ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"],
    ],
)
def test_the_local_runner_can_be_named(argv):
    assert parse_beam_args(argv) == BeamArgs("FnApiRunner", (), CORES, None)


@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        ("DirectRunner", "switch to another engine"),
        ("SwitchingDirectRunner", "switch to another engine"),
        ("BundleBasedDirectRunner", "legacy"),
        ("PrismRunner", "downloads its engine"),
        ("DaskRunner", "silently loses"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "silently loses"),
        ("InteractiveRunner", "notebooks"),
    ],
)
@pytest.mark.parametrize("form", [["--runner={}"], ["--runner", "{}"]])
def test_unsafe_runners_are_refused_with_the_reason_and_what_to_use(runner, reason, form):
    with pytest.raises(RunnerError) as error:
        parse_beam_args([part.format(runner) for part in form])
    assert reason in str(error.value)
    assert "--runner=FnApiRunner" in str(error.value)


@pytest.mark.parametrize("runner", ["DataflowRunner", "FlinkRunner", "SparkRunner"])
def test_cluster_runners_are_passed_through(runner):
    args = parse_beam_args([f"--runner={runner}", "--job_name=mine"])
    assert args.runner == runner
    assert args.argv == ("--job_name=mine",)
    assert not args.is_local
    assert args.is_dataflow == (runner == "DataflowRunner")


def test_an_unknown_runner_is_refused_with_the_nearest_one():
    with pytest.raises(RunnerError, match="'DataFlowRuner'; did you mean 'DataflowRunner'"):
        parse_beam_args(["--runner=DataFlowRuner"])


@pytest.mark.parametrize(
    ("typo", "right"),
    [
        ("--direct_num_worker=2", "--direct_num_workers"),
        ("--temp_locaton=gs://x", "--temp_location"),
        ("--regoin", "--region"),
        ("--worker_machine_typ=n1", "--worker_machine_type"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest_one(typo, right):
    with pytest.raises(RunnerError) as error:
        parse_beam_args(["--job_name=x", typo])
    assert f"unknown Beam option {typo!r}; did you mean {right!r}?" in str(error.value)


def test_every_unknown_option_is_named_at_once():
    with pytest.raises(RunnerError) as error:
        parse_beam_args(["--temp_locaton=x", "--regoin=y"])
    assert "--temp_locaton" in str(error.value)
    assert "--regoin" in str(error.value)


def test_an_abbreviation_is_not_guessed():
    with pytest.raises(RunnerError, match="unknown Beam option '--temp_loc=x'"):
        parse_beam_args(["--temp_loc=x"])


def test_what_is_no_option_at_all_is_refused():
    with pytest.raises(RunnerError, match=r"not a Beam option: recipe\.yaml"):
        parse_beam_args(["recipe.yaml"])


@pytest.mark.parametrize(
    "argv", [["--direct_num_workers=many"], ["--direct_running_mode=fast"], ["--runner"]]
)
def test_a_bad_value_is_refused(argv):
    with pytest.raises(RunnerError, match="bad Beam option"):
        parse_beam_args(argv)


@pytest.mark.parametrize("form", [["--direct_num_workers=2"], ["--direct_num_workers", "2"]])
def test_workers_are_read_in_both_spellings_and_not_passed_on(form):
    args = parse_beam_args([*form, "--job_name", "x"])
    assert args.workers == 2
    assert args.argv == ("--job_name", "x")


@pytest.mark.parametrize("argv", [["--direct_num_workers=0"], ["--direct_num_workers=-3"]])
def test_no_workers_mean_every_core_as_in_beam(argv):
    assert parse_beam_args(argv).workers == CORES


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading", "multi_processing"])
@pytest.mark.parametrize("form", [["--direct_running_mode={}"], ["--direct_running_mode", "{}"]])
def test_the_mode_is_read_in_both_spellings_and_not_passed_on(mode, form):
    args = parse_beam_args([part.format(mode) for part in form])
    assert (args.running_mode, args.argv) == (mode, ())


OPTIONS = ["--job_name=x", "--region=eu", "--num_workers=7", "--experiments=a", "--streaming"]


@given(
    st.lists(st.sampled_from(OPTIONS), max_size=5), st.integers(0, 5), st.booleans(), st.booleans()
)
@settings(max_examples=50, deadline=None)
def test_other_options_are_passed_on_as_they_were_given(others, place, split, runner):
    own = ["--direct_num_workers", "3"] if split else ["--direct_num_workers=3"]
    own += ["--runner", "FnApiRunner"] if runner else []
    args = parse_beam_args([*others[:place], *own, *others[place:]])
    assert args.argv == tuple(others)
    assert args.workers == 3


def test_every_option_of_dataflow_is_known():
    argv = [
        "--runner=DataflowRunner",
        "--project=p",
        "--region=r",
        "--temp_location=gs://b/t",
        "--worker_machine_type=n1-standard-4",
        "--max_num_workers=9",
        "--sdk_container_image=image",
        "--dataflow_service_options=worker_accelerator=type:nvidia-l4",
        "--save_main_session",
    ]
    assert parse_beam_args(argv).argv == tuple(argv[1:])


def local(workers: int, mode: str | None = None) -> BeamArgs:
    return BeamArgs("FnApiRunner", (), workers, mode)


@pytest.mark.parametrize(
    ("args", "seconds", "processes"),
    [
        (local(4), 30.0, 0),
        (local(4), 31.0, 4),
        (local(1), 1e6, 0),
        (local(4, "in_memory"), 1e6, 0),
        (local(4, "multi_threading"), 1e6, 0),
        (local(4, "multi_processing"), 0.0, 4),
        (local(1, "multi_processing"), 0.0, 1),
        (BeamArgs("DataflowRunner", (), 4, None), 1e6, 0),
    ],
)
def test_processes_are_started_only_where_they_pay_or_are_asked_for(args, seconds, processes):
    assert local_processes(args, seconds) == processes


@pytest.mark.parametrize(
    ("args", "seconds", "expected"),
    [
        (local(3), 1.0, ("in_memory", 1)),
        (local(3), 100.0, ("multi_processing", 3)),
        (local(3, "multi_threading"), 100.0, ("multi_threading", 1)),
    ],
)
def test_a_local_pipeline_has_the_mode_and_the_processes(args, seconds, expected):
    pipeline = make_pipeline(args, job_name="job", work_seconds=seconds)
    assert isinstance(pipeline.runner, FnApiRunner)
    options = pipeline.options.view_as(DirectOptions)
    assert (options.direct_running_mode, options.direct_num_workers) == expected


def test_a_local_pipeline_runs():
    with make_pipeline(parse_beam_args([]), job_name="job", work_seconds=0) as pipeline:
        found = pipeline | beam.Create([1, 2, 3]) | beam.Map(lambda x: x * x)
        assert_that(found, equal_to([1, 4, 9]))


def dataflow(*argv: str) -> PipelineOptions:
    """Options of a Dataflow pipeline that is built without network."""
    pytest.importorskip("google.cloud.storage", reason="needs the extra gcp")
    given_options = [
        "--runner=DataflowRunner",
        "--project=project-x",
        "--region=us-central1",
        "--temp_location=gs://bucket/temp",
        "--staging_location=gs://bucket/staging",
        "--dry_run=True",
        "--no_auth",
    ]
    args = parse_beam_args([*given_options, *argv])
    return make_pipeline(args, job_name="mix-embed", work_seconds=0).options


def test_a_dataflow_pipeline_gets_the_options_and_the_name_of_the_stage():
    options = dataflow("--num_workers=7")
    assert options.view_as(StandardOptions).runner == "DataflowRunner"
    assert options.view_as(GoogleCloudOptions).job_name == "mix-embed"
    assert options.view_as(GoogleCloudOptions).project == "project-x"
    assert options.view_as(WorkerOptions).num_workers == 7


def test_the_users_own_job_name_is_kept():
    options = dataflow("--job_name=mine")
    assert options.view_as(GoogleCloudOptions).job_name == "mine"
