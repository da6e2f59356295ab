"""Which Beam runner a stage uses, with which options; unsafe runners and typos are refused.

Locally the runner is named FnApiRunner: in memory for small work, in one process per core for
large work (starting those takes some seconds). ``DirectRunner`` is refused because it may switch
engines behind one's back, ``DaskRunner`` because it silently loses what a step emits when a bundle
ends.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from mixcurate.errors import RunnerError, nearest

LOCAL_RUNNER = "FnApiRunner"

_REFUSED = {
    "DirectRunner": "it may switch to another engine (Prism) depending on the network",
    "SwitchingDirectRunner": "it may switch to another engine depending on the network",
    "BundleBasedDirectRunner": "it is the legacy engine, without the features that stages rely on",
    "PrismRunner": "it downloads its engine when it starts",
    "DaskRunner": "it silently loses what a step emits at the end of a bundle",
    "InteractiveRunner": "it is for notebooks and wraps an engine that may switch",
}
_PASSED_THROUGH = ("DataflowRunner", "FlinkRunner", "SparkRunner", "PortableRunner")

#: Local work that takes less than this on one core is not worth starting processes for.
_WORTH_PROCESSES_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class BeamArgs:
    """Checked Beam options: which runner, and every other option as it was given."""

    runner: str
    argv: tuple[str, ...]
    workers: int
    running_mode: str | None

    @property
    def is_local(self) -> bool:
        """Whether stages run on this machine."""
        return self.runner == LOCAL_RUNNER

    @property
    def is_dataflow(self) -> bool:
        """Whether stages run on Dataflow: only there do resource hints help."""
        return self.runner == "DataflowRunner"


def parse_beam_args(argv: Sequence[str]) -> BeamArgs:
    """Check what follows ``--`` on the command line.

    Raises:
        RunnerError: an unknown option (with the nearest known one) or an unsafe runner.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for options in [PipelineOptions, *_all_option_classes()]:
        try:
            options._add_argparse_args(parser)
        except argparse.ArgumentError:
            continue  # two Beam classes that declare the same option
    try:
        known, unknown = parser.parse_known_args(list(argv))
    except (argparse.ArgumentError, SystemExit) as error:
        raise RunnerError(f"bad Beam option: {error}") from error
    if unknown:
        valid = [name for action in parser._actions for name in action.option_strings]
        problems = [
            f"unknown Beam option {name!r}; {nearest(name.split('=')[0], valid)}"
            for name in unknown
            if name.startswith("-")
        ]
        raise RunnerError("\n".join(problems or [f"not a Beam option: {' '.join(unknown)}"]))
    runner = _checked_runner(known.runner)
    workers = known.direct_num_workers
    if workers is None or workers < 1 or not _given("--direct_num_workers", argv):
        workers = os.cpu_count() or 1
    mode = known.direct_running_mode if _given("--direct_running_mode", argv) else None
    rest = _without(argv, ("--runner", "--direct_num_workers", "--direct_running_mode"))
    return BeamArgs(runner, tuple(rest), workers, mode)


def _all_option_classes() -> list[type[PipelineOptions]]:
    found: list[type[PipelineOptions]] = []
    waiting = list(PipelineOptions.__subclasses__())
    while waiting:
        options = waiting.pop(0)
        waiting += options.__subclasses__()
        if "_add_argparse_args" in vars(options) and options.__module__.startswith("apache_beam"):
            found.append(options)
    return found


def _checked_runner(name: str | None) -> str:
    short = (name or LOCAL_RUNNER).rsplit(".", 1)[-1]
    if short in _REFUSED:
        raise RunnerError(
            f"--runner={short} is refused: {_REFUSED[short]}. "
            f"Use --runner={LOCAL_RUNNER} (the default) on this machine or --runner=DataflowRunner."
        )
    if short != LOCAL_RUNNER and short not in _PASSED_THROUGH:
        valid = (LOCAL_RUNNER, *_PASSED_THROUGH)
        raise RunnerError(f"unknown runner {name!r}; {nearest(short, valid)}")
    return short


def _given(option: str, argv: Sequence[str]) -> bool:
    return any(arg == option or arg.startswith(option + "=") for arg in argv)


def _without(argv: Sequence[str], options: tuple[str, ...]) -> list[str]:
    """``argv`` less some options, written as ``--x=v`` or ``--x v``."""
    rest: list[str] = []
    skip = False
    for arg in argv:
        if skip:
            skip = False
            continue
        if arg in options:
            skip = True
        elif not arg.startswith(tuple(option + "=" for option in options)):
            rest.append(arg)
    return rest


def local_processes(args: BeamArgs, work_seconds: float) -> int:
    """Worker processes that a local stage gets; 0 means in this process.

    Args:
        args: what the user asked for; an explicit mode is obeyed.
        work_seconds: rough cost of the stage on one core.
    """
    if not args.is_local:
        return 0
    if args.running_mode == "multi_processing":
        return args.workers
    if args.running_mode is not None or args.workers < 2:
        return 0
    return args.workers if work_seconds > _WORTH_PROCESSES_SECONDS else 0


def make_pipeline(
    args: BeamArgs, *, job_name: str, work_seconds: float, experiments: tuple[str, ...] = ()
) -> beam.Pipeline:
    """A pipeline for one stage.

    Args:
        args: checked options.
        job_name: Dataflow job name.
        work_seconds: rough cost of the stage on one core; decides about worker processes.
        experiments: Dataflow experiments that the stage needs.
    """
    argv = list(args.argv)
    if not args.is_local:
        argv.append(f"--runner={args.runner}")
        if args.is_dataflow and not _given("--job_name", argv):
            argv.append(f"--job_name={job_name}")
        if args.is_dataflow:
            argv += [f"--experiments={name}" for name in experiments]
        return beam.Pipeline(options=PipelineOptions(argv))
    _quiet_local_runner()
    processes = local_processes(args, work_seconds)
    if processes:
        argv += ["--direct_running_mode=multi_processing", f"--direct_num_workers={processes}"]
    else:
        mode = args.running_mode or "in_memory"
        argv += [f"--direct_running_mode={mode}", "--direct_num_workers=1"]
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(argv))


def _quiet_local_runner() -> None:
    """Keep a local run's stderr for progress: of Beam's own chatter only errors."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    logging.getLogger("apache_beam.runners.portability.local_job_service").setLevel(
        logging.CRITICAL
    )
