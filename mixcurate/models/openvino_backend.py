"""Sentence-transformers models on a CPU by OpenVINO: one document a request, a stream per core.

One sequence per request has no padding, and costs nothing: a CPU is busy with one. So a vector does
not depend on its neighbours, and is the same for any bundling of the work and number of threads.
Torch is imported only when a model is converted for the first time, in another process.
"""

from __future__ import annotations

import concurrent.futures
import json
import queue
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mixcurate.models.encoders import Beat, Encoded, EncoderSpec
from mixcurate.models.openvino_convert import (
    FACTS,
    HEAD,
    NETWORK,
    TOKENIZER,
    converted,
    quiet_openvino,
)
from mixcurate.models.sequences import Sequences, TextTokenizer

_HINTS = {"bf16": "bf16", "fp32": "f32", "int8": "f32"}

#: Documents tokenised together: there is nothing to sort, and threads wait for the first of a part.
_WINDOW = 64

#: Sequences handed to a thread at once: enough to hide the handing, few enough to end together.
_CHUNK = 2


def has_bf16() -> bool:
    """Whether this processor computes in bf16; OpenVINO emulates it otherwise, very slowly."""
    return "BF16" in quiet_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoBackend:
    """A sentence-transformers model compiled for this machine's CPU."""

    def __init__(self, spec: EncoderSpec, threads: int) -> None:
        """Load (and, the first time, convert) the model.

        Args:
            spec: which model, and how.
            threads: streams of one thread each.

        Raises:
            InputError: the model cannot be found or converted.
        """
        files = converted(spec)
        facts: dict[str, Any] = json.loads((files / FACTS).read_text())
        self.dimension: int = facts["dimension"]
        self.normalises: bool = facts["normalises"]
        self.window, self.lanes, self.ahead = max(_WINDOW, 32 * threads), threads, 1
        self.tokenizer = TextTokenizer(
            Tokenizer.from_file(str(files / TOKENIZER)),
            min(spec.max_tokens, facts["max_tokens"] or spec.max_tokens),
            prompt=facts["prompt"],
            windows=spec.max_windows if spec.long_documents == "mean_of_windows" else 1,
            truncation_side=facts["truncation_side"],
        )
        core = quiet_openvino().Core()
        streams = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
        network = core.compile_model(
            str(files / NETWORK),
            "CPU",
            streams | {"INFERENCE_PRECISION_HINT": _HINTS[spec.precision]},
        )
        # pooled in fp32: a mean over bf16 loses what the network has kept
        head = core.compile_model(
            str(files / HEAD), "CPU", streams | {"INFERENCE_PRECISION_HINT": "f32"}
        )
        self._requests: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        for _ in range(threads):
            self._requests.put((network.create_infer_request(), head.create_infer_request()))
        self._infer(np.zeros((1, 1), np.int64))  # not first in two threads: see there
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)

    def submit(self, sequences: Sequences, beat: Beat) -> Callable[[], Encoded]:
        """Start on ``sequences``; see ``Backend``. A sequence without tokens becomes zeros."""
        vectors = np.zeros((len(sequences.owners), self.dimension), np.float32)
        # longest first: what threads end with, when they run dry, is short
        order = np.argsort(-sequences.lengths, kind="stable")
        chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
        tasks = [self._pool.submit(self._run, sequences, rows, vectors, beat) for rows in chunks]

        def wait() -> Encoded:
            seconds = sum(task.result() for task in tasks)
            return Encoded(vectors, len(sequences.ids), seconds)

        return wait

    def _infer(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The vector of one sequence, float32 ``[dimension]``, in a free request.

        The first call must end before a second thread calls: the binding fills a table under a
        lock, lets go of the interpreter meanwhile, and a thread that then holds the interpreter
        and waits for that lock stands still for ever (seen with OpenVINO 2026.4.1).
        """
        network, head = self._requests.get()
        try:
            mask = np.ones_like(ids)
            hidden = network.infer([ids, mask], share_inputs=True, share_outputs=True)[0]
            pooled = head.infer([hidden, mask], share_inputs=True, share_outputs=True)[0]
            vector: npt.NDArray[np.float32] = pooled[0].copy()
        finally:
            self._requests.put((network, head))
        return vector

    def _run(
        self,
        sequences: Sequences,
        rows: npt.NDArray[np.intp],
        vectors: npt.NDArray[np.float32],
        beat: Beat,
    ) -> float:
        """Some sequences, one by one."""
        started = time.perf_counter()
        for row in rows.tolist():
            ids = sequences.sequence(row)[None].astype(np.int64)
            if ids.size:
                vectors[row] = self._infer(ids)
        beat(*sequences.progress(rows))
        return time.perf_counter() - started
