"""Vectors and signals of labelled documents: a run's, or of texts that come with labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import RequestError
from mixcurate.io import embeddings, partfiles
from mixcurate.io.encoder_match import require_same_encoder
from mixcurate.io.labels_file import Labels, iter_texts
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.quality import INPUTS, heuristic_quality
from mixcurate.kernels.signals import SIGNALS, text_signals
from mixcurate.models import language
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EmbedParams, EncodeStats
from mixcurate.models.resolve import load, resolve
from mixcurate.recipe_file import load_recipe

#: Rows of the documents' narrow columns that are searched for ids at once.
_ROWS = 65_536

_SIGNALS = [f"signal_{name}" for name in SIGNALS]

Float32Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class LabelledVectors:
    """What is known of labelled documents besides their labels.

    Attributes:
        vectors: float32 ``[n, d]``; zero where a document is unknown.
        signals: float32 ``[n, s]``, as ``kernels.signals.SIGNALS`` has them; NaN where unknown.
        known: bool ``[n]``.
        encoder: what made the vectors, as the manifest has it.
    """

    vectors: Float32Array
    signals: Float32Array
    known: npt.NDArray[np.bool_]
    encoder: dict[str, Any]

    @property
    def heuristics(self) -> npt.NDArray[np.float64]:
        """Mean of our own quality dimensions: float64 ``[n]``, NaN where unknown."""
        columns = dict(zip(SIGNALS, self.signals.T, strict=True))
        found: npt.NDArray[np.float64] = np.mean(
            list(heuristic_quality({name: columns[name] for name in INPUTS}).values()),
            axis=0,
            dtype=np.float64,
        )
        return found


def vectors_by_id(labels: Labels, home: Workdir) -> LabelledVectors:
    """Look up the vectors of a run; memory goes with the labels, not with the run.

    Of documents of one id the first counts.

    Raises:
        RequestError: the run has no vectors.
        InputError: a part of them cannot be read.
    """
    embedded = home.success("embed")
    if embedded is None:
        raise RequestError(f"{home.root} has no embeddings; run: mixcurate embed RECIPE")
    encoder = embedded.details["encoder"]
    n = len(labels.keys)
    known = np.zeros(n, bool)
    signals = np.full((n, len(SIGNALS)), np.nan, np.float32)
    vectors = np.zeros((n, int(encoder["dimension"])), np.float32)
    for part in embedded.parts:
        rows, places = [], []
        start = 0
        path = home.part("ingest", part.name)
        for batch in partfiles.iter_batches(path, ["id", *_SIGNALS], _ROWS):
            row, place = _first_places(batch.column("id"), labels.keys, known)
            known[place] = True
            signals[place] = _matrix(batch.select(_SIGNALS).take(pa.array(row)))
            rows.append(row + start)
            places.append(place)
            start += batch.num_rows
        if sum(map(len, rows)):
            found = embeddings.read_rows(home.part("embed", part.name), np.concatenate(rows))
            vectors[np.concatenate(places)] = found
    return LabelledVectors(vectors, signals, known, encoder)


def vectors_of_texts(
    labels: Labels, home: Workdir | None, model: str, threads: int
) -> LabelledVectors:
    """Embed the texts, with the model of a run or another one, and compute their signals.

    Args:
        labels: by text.
        home: of the run whose model it is to be, or None.
        model: which one otherwise.
        threads: CPU threads to use.

    Raises:
        InputError: the model cannot be loaded, or is not what made the run's vectors.
    """
    params = EmbedParams(model=_absolute(model)) if home is None else run_encoder(home)
    spec = resolve(params)
    identity: dict[str, Any] = {
        "model": spec.name,
        "revision": spec.revision,
        "weights_sha256": spec.weights,
        "backend": spec.backend,
        "precision": spec.precision,
        "max_tokens": spec.max_tokens,
        "long_documents": spec.long_documents,
    }
    embedded = None if home is None else home.success("embed")
    if home is not None and embedded is not None:
        theirs = embedded.details["encoder"]
        ours = identity | {"dimension": theirs["dimension"]}  # which the weights tell
        require_same_encoder(home.root, theirs, ours, "run again: mixcurate embed RECIPE")
    encoder = load(spec, threads)
    words = "whitespace" if home is None else load_recipe(home.path("recipe.yaml")).ingest.words
    signals: list[Float32Array] = []
    found = list(encoder.encode(_windows(labels, encoder, words, signals), EncodeStats()))
    vectors = np.concatenate(found).astype(np.float32)
    known = np.ones(len(vectors), bool)
    identity |= {"dimension": encoder.dimension}
    return LabelledVectors(vectors, np.concatenate(signals), known, identity)


def run_encoder(home: Workdir) -> EmbedParams:
    """The model of a run, as the run has found it: its folder, or its revision."""
    params = load_recipe(home.path("recipe.yaml")).embed
    embedded = home.success("embed")
    if params.model == "embedded" or embedded is None:
        return params
    recorded: dict[str, Any] = embedded.details["encoder"]
    if recorded["revision"] is not None:
        return params.model_copy(update={"revision": recorded["revision"]})
    return params.model_copy(update={"model": recorded["model"]})


def _first_places(
    ids: pa.Array, keys: pa.Array, known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows of ``ids`` that are keys not known yet, and which: two intp ``[m]``."""
    found = pc.index_in(ids, value_set=keys.cast(ids.type)).fill_null(-1)
    place = found.to_numpy(zero_copy_only=False).astype(np.intp)
    row = np.flatnonzero(place >= 0)
    row = row[~known[place[row]]]
    _, first = np.unique(place[row], return_index=True)
    return row[first], place[row[first]]


def _windows(
    labels: Labels,
    encoder: Encoder,
    words: Literal["whitespace", "tokens"],
    signals: list[Float32Array],
) -> Iterator[list[str]]:
    """The texts as the encoder wants them, and on the way their signals, as ingest has them."""
    for texts in iter_texts(labels):
        codes = pa.array(language.identify(texts)[0], pa.string())
        trimmed = pc.utf8_trim_whitespace(pa.array(texts, pa.large_string()))
        signals.append(_matrix(text_signals(trimmed, codes, words=words)))
        for start in range(0, len(texts), encoder.window):
            yield texts[start : start + encoder.window]


def _matrix(columns: pa.RecordBatch) -> Float32Array:
    """The columns side by side: float32 ``[n, s]``."""
    return np.stack([column.to_numpy() for column in columns.columns], axis=1, dtype=np.float32)


def _absolute(model: str) -> str:
    return os.path.abspath(model) if os.path.isdir(model) else model
