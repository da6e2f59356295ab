"""Sequences through a network of torch, with the batching done for the device it runs on.

Sequences are sorted by length and cut into batches of a token budget, so that little is padding. On
a GPU the batches of a window are launched one after another and fetched once; two windows are under
way, so that one computes while the other is fetched. On a CPU the batches run in threads of one
core each: that beats one batch on all cores, and no result depends on how many threads there are.
"""

from __future__ import annotations

import abc
import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.models.encoders import Beat, Encoded
from mixcurate.models.sequences import Sequences, TextTokenizer

#: Tokens per forward pass on a CPU: measured best, the activations stay in the cache.
_CPU_BATCH_TOKENS = 1_024

#: On a GPU as much as fits, within these bounds: more hides no more latency.
_GPU_BATCH_TOKENS = (4_096, 131_072)

#: Padding of a batch as a share of its tokens.
_MOST_PADDING = 0.03

#: Share of a GPU's free memory that two windows under way may fill with activations.
_MEMORY_SHARE = 0.6

_WINDOW = {"cpu": 2_048, "cuda": 8_192}


class ModelTokenizer(TextTokenizer):
    """The tokenizer of a transformer, which also knows how it is padded."""

    pad_id: int = 0
    pad_left: bool = False


class TorchLanes(abc.ABC):
    """A network on one device; what it is and what it gives is up to the subclass."""

    def __init__(
        self, tokenizer: ModelTokenizer, dimension: int, device: str, threads: int
    ) -> None:
        """Get the device ready; ``start`` has to follow once the network is there.

        Args:
            tokenizer: knows how sequences are padded, and how long they get.
            dimension: numbers that the network gives for a sequence.
            device: cpu, or one GPU such as cuda:0.
            threads: CPU threads to use.
        """
        import torch

        self._torch, self._device = torch, torch.device(device)
        on_cpu = self._device.type == "cpu"
        self.tokenizer, self.dimension = tokenizer, dimension
        self.window = _WINDOW[self._device.type]
        self.lanes = threads if on_cpu else 1
        self.ahead = 1 if on_cpu else 2
        if on_cpu:
            torch.set_num_threads(1)  # the threads below each run their own batch
        self._pool = concurrent.futures.ThreadPoolExecutor(threads if on_cpu else 2)
        self._counting, self._counted_until = threading.Lock(), 0.0
        self._budget = _CPU_BATCH_TOKENS if on_cpu else _GPU_BATCH_TOKENS[0]

    def start(self, batch_tokens: int | None) -> None:
        """Settle the tokens of a forward pass; None finds out what fits the device."""
        if batch_tokens is not None:
            self._budget = batch_tokens
        elif self._device.type != "cpu":
            self._budget = self._probe()

    @abc.abstractmethod
    def _launch(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Any:
        """A batch through the network: a float32 tensor ``[m, dimension]`` on the device."""

    def submit(self, sequences: Sequences, beat: Beat) -> Callable[[], Encoded]:
        """Start on ``sequences``; see ``Backend``. A sequence without tokens becomes zeros.

        Raises:
            torch.cuda.OutOfMemoryError: (when waited for) one sequence alone does not fit.
        """
        filled = np.flatnonzero(sequences.lengths)
        beat(*sequences.progress(np.flatnonzero(sequences.lengths == 0)))
        lengths = sequences.lengths[filled]
        batches = [filled[rows] for rows in token_budget_batches(lengths, self._budget)]
        if self._device.type == "cpu":
            tasks = [self._pool.submit(self._run, sequences, [rows], beat) for rows in batches]
        else:
            tasks = [self._pool.submit(self._run, sequences, batches, beat)]

        def wait() -> Encoded:
            vectors = np.zeros((len(sequences.owners), self.dimension), np.float32)
            padded, seconds = 0, 0.0
            for task in tasks:
                for rows, found, size in task.result()[0]:
                    vectors[rows] = found
                    padded += size
                seconds += task.result()[1]
            return Encoded(vectors, padded, seconds)

        return wait

    def _run(
        self, sequences: Sequences, batches: list[npt.NDArray[np.intp]], beat: Beat
    ) -> tuple[list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], int]], float]:
        """Batches one after another, fetched from the device when all are launched."""
        started = time.perf_counter()
        launched: list[tuple[npt.NDArray[np.intp], Any, int]] = []
        for rows in batches:
            launched += self._forward(sequences, rows)
        found = []
        for rows, output, size in launched:
            found.append((rows, output.cpu().numpy(), size))
            beat(*sequences.progress(rows))
        return found, self._working(started, time.perf_counter())

    def _working(self, started: float, ended: float) -> float:
        """Seconds of an interval, less what a lane that is shared has counted already."""
        if self._device.type == "cpu":
            return ended - started
        with self._counting:
            alone = max(0.0, ended - max(started, self._counted_until))
            self._counted_until = max(ended, self._counted_until)
        return alone

    def _forward(
        self, sequences: Sequences, rows: npt.NDArray[np.intp]
    ) -> list[tuple[npt.NDArray[np.intp], Any, int]]:
        """One batch through the model; halved, as all after it, when the device has no room."""
        torch = self._torch
        pad_id, left = self.tokenizer.pad_id, self.tokenizer.pad_left
        ids, mask = sequences.padded(rows, pad_id, left=left)
        try:
            return [(rows, self._launch(ids, mask), ids.size)]
        except torch.cuda.OutOfMemoryError:
            if len(rows) == 1:
                raise
        # after the except clause: inside it the error would keep the batch's memory
        torch.cuda.empty_cache()
        # half of what did not fit, not of the budget: batches that are under way may fail as well
        self._budget = min(self._budget, max(_GPU_BATCH_TOKENS[0], ids.size // 2))
        half = len(rows) // 2
        return self._forward(sequences, rows[:half]) + self._forward(sequences, rows[half:])

    def _moved(self, array: npt.NDArray[np.int64]) -> Any:
        tensor = self._torch.from_numpy(array)
        if self._device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _probe(self) -> int:
        """Tokens per forward pass from what a small one takes: a power of two, so that the same
        model on the same device finds the same budget."""
        torch = self._torch
        least, most = _GPU_BATCH_TOKENS
        length = self.tokenizer.max_tokens or 512
        count = max(1, least // length)
        offsets = np.arange(count + 1) * length
        ids = np.full(count * length, self.tokenizer.pad_id, np.int32)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        self._forward(Sequences(ids, offsets, np.arange(count), count), np.arange(count))
        torch.cuda.synchronize(self._device)
        taken = torch.cuda.max_memory_allocated(self._device) - before
        free, _ = torch.cuda.mem_get_info(self._device)
        return budget_for(free, taken / (count * length), least=least, most=most)


def budget_for(free_bytes: int, bytes_per_token: float, *, least: int, most: int) -> int:
    """Largest power of two of tokens whose activations, twice, fit a share of the free memory."""
    fitting = _MEMORY_SHARE * free_bytes / 2 / max(bytes_per_token, 1.0)
    power = 1 << max(0, int(np.log2(max(fitting, 1.0))))
    return int(np.clip(power, least, most))


def token_budget_batches(
    lengths: npt.NDArray[np.int64], budget: int
) -> Iterator[npt.NDArray[np.intp]]:
    """Cut sequences into batches of similar length, each at most ``budget`` tokens with padding.

    Longest first, so that the largest batch meets the memory first. A batch ends before its padding
    passes ``_MOST_PADDING``, however much room is left, so that less than that is wasted over all.
    A sequence above the budget is a batch of its own. The batches are a function of the lengths.

    Yields:
        Row numbers of one batch, intp ``[m]``, m >= 1.
    """
    order = np.argsort(-lengths, kind="stable")
    descending = np.maximum(lengths[order], 1)
    start = 0
    while start < len(order):
        longest = int(descending[start])
        room = descending[start : start + max(1, budget // longest)]
        # convex in the number of rows, and below zero for one: what is allowed is a prefix
        over = longest * np.arange(1, len(room) + 1) - np.cumsum(room) * (1 + _MOST_PADDING)
        stop = start + int(np.count_nonzero(over <= 0))
        yield order[start:stop]
        start = stop
