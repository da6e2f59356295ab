"""The documents that a language model judges: which ones, and their prompts on disk."""

from __future__ import annotations

from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import rubric
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.models.chat_budget import most_tokens
from mixcurate.params import AnnotatorParams

Int64Array = npt.NDArray[np.int64]

#: Rows of ids, and of texts, that are read at once.
_ROWS, _TEXTS = 1 << 16, 1_000


def choose(workdir: Workdir, parts: list[str], seed: int, count: int) -> pa.Table:
    """The ``count`` documents with the smallest keys: key, id, part (its number), row; sorted."""
    chosen: list[pa.Table] = []
    rows, bound = 0, np.iinfo(np.uint64).max
    for number, part in enumerate(parts):
        start = 0
        for batch in partfiles.iter_batches(workdir.part("ingest", part), ["id"], rows=_ROWS):
            ids = batch.column("id")
            keys = uniform_keys(ids, seed, "annotate")
            near = np.flatnonzero(keys <= bound)
            columns = {
                "key": pa.array(keys[near]),
                "id": ids.take(pa.array(near)),
                "part": pa.array(np.full(len(near), number, np.int64)),
                "row": pa.array(start + near, pa.int64()),
            }
            chosen.append(pa.table(columns))
            start, rows = start + len(keys), rows + len(near)
            if rows > 2 * count + _ROWS:  # so that memory goes with the sample alone
                chosen = [_smallest(chosen, count)]
                rows, bound = count, chosen[0].column("key")[-1].as_py()
    return _smallest(chosen, count)


def _smallest(tables: list[pa.Table], count: int) -> pa.Table:
    order = [(name, "ascending") for name in ("key", "id", "part", "row")]
    return pa.concat_tables(tables).sort_by(order).slice(0, count).combine_chunks()


class Prompts:
    """The prompts of the sample, on disk, for they may be many; made in one pass over the parts."""

    def __init__(self, stream: IO[bytes], sample: pa.Table, params: AnnotatorParams) -> None:
        self._stream, self._params = stream, params
        self._task = rubric.task_message(params.rubric)
        self._part: Int64Array = sample.column("part").to_numpy()
        self._row: Int64Array = sample.column("row").to_numpy()
        self._bounds = np.zeros((len(sample), 2), np.int64)
        self.answer_tokens = rubric.answer_tokens(params.rubric)
        self.most_tokens = 0
        """Of all prompts and their answers, at most."""

    def __len__(self) -> int:
        return len(self._row)

    def fill(self, workdir: Workdir, parts: list[str]) -> None:
        """Read the chosen texts."""
        for number, part in enumerate(parts):
            places = np.flatnonzero(self._part == number)
            places = places[np.argsort(self._row[places])]
            wanted = self._row[places]
            start = 0
            batches = partfiles.iter_batches(workdir.part("ingest", part), ["text"], _TEXTS)
            for batch in batches if len(places) else ():
                stop = start + batch.num_rows
                first, last = np.searchsorted(wanted, [start, stop]).tolist()
                texts = batch.column("text").take(pa.array(wanted[first:last] - start))
                self._keep(places[first:last].tolist(), texts)
                if last == len(wanted):
                    break
                start = stop

    def _keep(self, places: list[int], texts: pa.Array) -> None:
        for place, text in zip(places, texts, strict=True):
            message = rubric.document_message(
                text.as_py(), self._params.rubric, self._params.max_characters
            )
            data = message["content"].encode()
            self._bounds[place] = self._stream.tell(), len(data)
            self._stream.write(data)
            self.most_tokens += most_tokens([self._task, message]) + self.answer_tokens

    def __getitem__(self, place: int) -> list[rubric.Message]:
        offset, size = self._bounds[place].tolist()
        self._stream.seek(offset)
        content = self._stream.read(size).decode()
        return [self._task, {"role": "user", "content": content}]
