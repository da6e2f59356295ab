"""Quality heads from labels: fitted, measured on documents held out, and written with a card."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from mixcurate.errors import InputError, RequestError
from mixcurate.io import storage
from mixcurate.io.head_file import HeadFile, write_head_file
from mixcurate.io.label_fields import parse_dimension
from mixcurate.io.labels_file import Labels, read_labels
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import head_metrics, heads
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.head_signals import Signals
from mixcurate.kernels.heads import Head, HeadDimension
from mixcurate.kernels.nearest import usable
from mixcurate.kernels.signals import SIGNALS
from pipelines.head_card import figure, head_card
from pipelines.labelled_vectors import LabelledVectors, vectors_by_id, vectors_of_texts
from pipelines.trained import Trained, TrainedDimension, TrainOptions
from pipelines.trained_files import (
    card_path,
    check_apart,
    check_folder,
    rejected_path,
    write_rejected,
)

__all__ = ["TrainOptions", "Trained", "render", "train"]

#: With fewer documents held out, figures say little.
_FEW = 100

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def train(
    labels: str,
    out: str,
    *,
    workdir: str | None = None,
    options: TrainOptions | None = None,
    threads: int = 1,
) -> Trained:
    """Fit quality heads and write them, and a card beside them.

    Heads are fitted on all but the held-out documents and measured on these; then they are fitted
    on all. Rows that name documents by id take the vectors and the signals of the run; texts are
    embedded with the run's model or, without a run, with ``options.model``. Labels on documents
    that the run does not have are listed in ``OUT.rejected``. The files depend on the labels, the
    vectors, the signals and the options, not on the order of the rows or the number of threads.

    Args:
        labels: file, folder or pattern, as ``labels_file.read_labels`` reads it.
        out: the file of heads to write; the card is ``OUT.md``, without ``.safetensors``.
        workdir: of the run that has the documents, or whose model embeds the texts.
        options: how.
        threads: CPU threads that embed texts.

    Raises:
        RequestError: an option is wrong, no run or no vectors for labels by id, no document known.
        InputError: labels or model cannot be used, or there are too few labels.
        OutputError: ``out`` cannot be written.
    """
    options = options or TrainOptions()
    home = None if workdir is None else Workdir(workdir)
    asked = [parse_dimension(given) for given in options.dimensions]
    if not 0 < options.held_out <= 0.5:
        raise RequestError(
            f"--held-out {options.held_out:g}: the share of the documents that heads are measured "
            f"on must be above 0 and at most 0.5"
        )
    check_folder(out)
    given = read_labels(
        labels, by="text" if home is None else "id", asked=asked, group_field=options.group
    )
    check_apart(out, given)
    found = _vectors(given, home, options.model, threads)
    good = found.known & usable(found.vectors)
    refused = rejected_path(out)
    write_rejected(refused, given, found.known, good)
    if not good.any():
        raise RequestError(_none_known(given, found.known, workdir, refused))
    return _fit_and_write(out, given, found, good, options)


def render(done: Trained) -> str:
    """What there is to say of it, for people."""
    table = Table(title=f"measured on {done.held_out:,} documents that were held out")
    table.add_column("dimension")
    titles = ["range", "labelled", "MAE", "of the mean", "accuracy", "within one", "Spearman"]
    for title in [*titles, "of heuristics"]:
        table.add_column(title, justify="right")
    for one in done.dimensions:
        found = one.measured
        figures = [found.mae, found.constant_mae, found.accuracy, found.within_one, found.spearman]
        table.add_row(
            one.name,
            f"{one.least:g} to {one.most:g}",
            f"{one.labelled:,}",
            *(figure(value) for value in [*figures, one.heuristics_spearman]),
        )
    lines = [f"note: {note}" for note in done.notes]
    for count, what in ((done.unknown, "the run does not have"), (done.unusable, "have no vector")):
        if count:
            lines.append(f"{count:,} documents {what}: {done.rejected_path}")
    lines.append(f"heads of {done.documents:,} documents: {done.head}; their card: {done.card}")
    with io.StringIO() as text:
        Console(file=text, width=120).print(table)
        return text.getvalue() + "\n".join(lines)


def _fit_and_write(
    out: str,
    given: Labels,
    found: LabelledVectors,
    good: npt.NDArray[np.bool_],
    options: TrainOptions,
) -> Trained:
    """Measure heads, fit them on everything, and write them."""
    dimensions = [HeadDimension(name, least, most) for name, least, most in given.dimensions]
    order = pc.sort_indices(given.keys).to_numpy()  # sums round by the order of their terms
    rows = order[good[order]]
    vectors, signals, values = found.vectors[rows], found.signals[rows], given.values[rows]
    groups = given.groups.take(rows)
    test = head_metrics.held_out(groups, options.seed, options.held_out)
    if test.all() or not test.any():
        n_groups = len(groups.unique())
        raise InputError(
            f"{given.path}: {len(rows):,} documents in {n_groups:,} groups cannot be parted into "
            f"those to fit on and those to measure on; label more of them, or change --held-out"
        )
    codes = _codes(groups) if options.group is not None else None
    known = None if codes is None else codes[~test]
    fitted = _fit(vectors[~test], signals[~test], values[~test], dimensions, options, known)
    beside = signals[test] if fitted.signals else None
    predicted, decided = (
        judge(fitted, vectors[test], beside) for judge in (heads.predict, heads.decide)
    )
    measured = head_metrics.measure(predicted, decided, values[test], dimensions)
    own = np.repeat(found.heuristics[rows][test][:, None], len(dimensions), axis=1)
    heuristics = head_metrics.measure(own, own, values[test], dimensions)
    head = _fit(vectors, signals, values, dimensions, options, codes)
    told = [
        TrainedDimension(
            name=dimension.name,
            least=dimension.least,
            most=dimension.most,
            labelled=int((~np.isnan(column)).sum()),
            mean=float(np.nanmean(column)),
            measured=one,
            reads=_reads(strength),
            heuristics_spearman=other.spearman,
        )
        for dimension, column, one, other, strength in zip(
            dimensions, values.T, measured, heuristics, head.strengths, strict=True
        )
    ]
    trained = Trained(
        head=out,
        card=card_path(out),
        labels=given.path,
        labels_digest=_digest(given, rows),
        dimensions=told,
        documents=len(rows),
        held_out=int(test.sum()),
        groups=None if options.group is None else len(groups.unique()),
        rows=given.rows,
        repeated=given.repeated,
        unlabelled=given.unlabelled,
        unknown=int((~found.known).sum()),
        unusable=int((found.known & ~good).sum()),
        rejected_path=None if good.all() else rejected_path(out),
        options=options,
        encoder=found.encoder,
        notes=_notes(told),
    )
    _write(trained, head)
    return trained


def _fit(
    vectors: Float32Array,
    signals: Float32Array,
    values: Float64Array,
    dimensions: Sequence[HeadDimension],
    options: TrainOptions,
    groups: npt.NDArray[np.integer] | None,
) -> Head:
    beside = None
    if options.inputs != "vectors":
        beside = Signals(tuple(SIGNALS), signals, alone=options.inputs == "signals")
    return heads.fit(
        vectors,
        values,
        dimensions,
        signals=beside,
        hidden=options.hidden,
        seed=options.seed,
        groups=groups,
    )


def _codes(groups: pa.Array) -> npt.NDArray[np.int64]:
    """Equal numbers for equal groups."""
    encoded = pc.dictionary_encode(groups)
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def _reads(strength: float) -> str:
    """What a dimension reads, by how strong its signals count beside the vector."""
    if strength == 0:
        return "the vector"
    if np.isinf(strength):
        return "the signals"
    return (
        f"the vector and the signals, each {strength:g} times as strong as a number of the vector"
    )


def _write(trained: Trained, head: Head) -> None:
    """The heads, and then the card."""
    options = trained.options
    file = HeadFile(
        dimensions=tuple((d.name, d.least, d.most) for d in head.dimensions),
        layers=head.layers,
        mean=head.mean,
        scale=head.scale,
        signals=head.signals,
        encoder=trained.encoder,
        trained_on={
            "labels": trained.labels_digest,
            "documents": trained.documents,
            "hidden": options.hidden,
            "inputs": options.inputs,
            "reads": {d.name: d.reads for d in trained.dimensions},
            "seed": options.seed,
        },
        measured={
            "documents": trained.held_out,
            "share": options.held_out,
            "group": options.group,
            "dimensions": [dataclasses.asdict(d) for d in trained.dimensions],
        },
    )
    write_head_file(trained.head, file)
    storage.write_bytes(trained.card, head_card(trained).encode())


def _notes(dimensions: Sequence[TrainedDimension]) -> list[str]:
    """What one should know before using heads."""
    notes = []
    for one in dimensions:
        found, own = one.measured, one.heuristics_spearman
        if found.n < _FEW:
            notes.append(
                f"{one.name}: measured on {found.n:,} documents only; its figures are rough"
            )
        if found.mse is not None and found.mse >= (found.constant_mse or 0):
            notes.append(f"{one.name}: no nearer to the labels than their mean; it is of no use")
        if own is not None and (found.spearman is None or abs(own) > found.spearman):
            shown = "none" if found.spearman is None else f"{found.spearman:.2f}"
            notes.append(
                f"{one.name}: our own dimensions, which need no labels, rank the held-out "
                f"documents better (Spearman {own:.2f}, the head {shown})"
            )
    return notes


def _digest(given: Labels, rows: npt.NDArray[np.intp]) -> str:
    """Names the labels that were used, whatever the order of their rows."""
    keys = given.keys.take(rows).to_pylist()
    lines = zip(keys, given.values[rows].tolist(), strict=True)
    names = [f"{name} {least} {most}" for name, least, most in given.dimensions]
    return fingerprint(*names, *sorted(f"{key} {values}" for key, values in lines))


def _vectors(given: Labels, home: Workdir | None, model: str, threads: int) -> LabelledVectors:
    if given.by == "text":
        return vectors_of_texts(given, home, model, threads)
    if home is None:
        raise RequestError(
            f"{given.path} names documents by id: give --workdir, the run that has them; or put "
            f"each document's text into the labels"
        )
    return vectors_by_id(given, home)


def _none_known(
    given: Labels, known: npt.NDArray[np.bool_], workdir: str | None, refused: str
) -> str:
    if known.any():
        return f"{given.path}: no document has a usable vector; they are listed in {refused}"
    first = ", ".join(given.keys.slice(0, 3).to_pylist())
    return (
        f"{given.path}: {workdir} has none of its {len(known):,} documents (the first: {first}); "
        f"is it the run that was labelled? They are listed in {refused}"
    )
