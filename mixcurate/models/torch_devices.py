"""Several GPUs in one worker: a process each, fed by one tokenizer."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import itertools
import multiprocessing
from collections.abc import Callable

from mixcurate.errors import InputError
from mixcurate.models.encoders import Beat, Encoded, EncoderSpec
from mixcurate.models.sequences import Sequences
from mixcurate.models.torch_backend import TorchBackend, load_model, text_tokenizer

_BACKEND: list[TorchBackend] = []  # of a child process: its one model


def _load(spec: EncoderSpec, folder: str, device: str) -> None:
    _BACKEND.append(TorchBackend(spec, folder, threads=1, device=device))


def _facts() -> tuple[int, bool, int]:
    backend = _BACKEND[0]
    return backend.dimension, backend.normalises, backend.window


def _run(sequences: Sequences) -> Encoded:
    return _BACKEND[0].submit(sequences, _no_beat)()


def _no_beat(documents: int, tokens: int) -> None: ...


class TorchDevices:
    """A ``TorchBackend`` per device, each in a process of its own, windows dealt in turn."""

    def __init__(self, spec: EncoderSpec, folder: str, devices: list[str]) -> None:
        """Start a process per device and load the model in each.

        Raises:
            InputError: the model cannot be loaded.
        """
        self.tokenizer = text_tokenizer(load_model(spec, folder), spec)
        context = multiprocessing.get_context("spawn")  # a fork would share the CUDA context
        self._pools = [
            concurrent.futures.ProcessPoolExecutor(
                1, mp_context=context, initializer=_load, initargs=(spec, folder, device)
            )
            for device in devices
        ]
        found = [pool.submit(_facts) for pool in self._pools]
        try:
            facts = [future.result() for future in found]
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                f"embed.model: {spec.name!r} cannot be loaded in a process for each of "
                f"{', '.join(devices)}; what each said is on stderr"
            ) from error
        self.dimension, self.normalises, self.window = facts[0]
        self.lanes = len(devices)
        self.ahead = 2 * len(devices)
        self._turn = itertools.cycle(self._pools)

    def submit(self, sequences: Sequences, beat: Beat) -> Callable[[], Encoded]:
        """Start on ``sequences`` on the next device; see ``Backend``."""
        task = next(self._turn).submit(_run, sequences)

        def wait() -> Encoded:
            encoded = task.result()
            beat(sequences.documents, len(sequences.ids))
            return encoded

        return wait

    def close(self) -> None:
        """End the processes."""
        for pool in self._pools:
            pool.shutdown()
