"""Any sequence classifier of transformers, one score a text.

A score is a function of its own text: batches are padded, which changes the last bits of what a
network gives, so scores are rounded to steps; and a text whose score lies too near to the middle
between two steps is read once more, alone. That holds for fp32 on a CPU. On a GPU, with half
precision and much larger batches, padding changes more than that, and a score may differ in its
second or third digit with what it is batched with.
"""

from __future__ import annotations

import collections
import copy
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from mixcurate.errors import InputError
from mixcurate.models.encoders import Encoded
from mixcurate.models.sequences import Sequences
from mixcurate.models.text_classifiers import (
    ClassifierSpec,
    ClassifyStats,
    Float32Array,
    Outputs,
    one_at_a_time,
    place,
)
from mixcurate.models.torch_lanes import ModelTokenizer, TorchLanes

#: Steps that a range is cut into.
_STEPS = 1 << 12

#: How near to the middle between two steps, in shares of the range, a score may come before its
#: text is read again: ten times and more of what padding was measured to change in fp32.
_MARGIN = 2.0**-19

#: What a model has to give finite values for, of very different lengths.
_PROBES = ["A short sentence that any model of text can read.", "word " * 600, "Three words here."]

#: How much padding may change of a score, in shares of the range; more than that is no rounding.
_MOST_CHANGE = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.1}


def read_outputs(folder: str, name: str, *, trust_remote_code: bool) -> Outputs:
    """What a classifier gives, by its configuration; the weights are not read.

    Args:
        folder: where its files are.
        name: of the dimension, for messages.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        InputError: the folder holds no sequence classifier, or one that may not be loaded.
    """
    where = f"{place(name)}: model"
    config = _read_config(Path(folder) / "config.json", where)
    if not any(file.suffix == ".safetensors" for file in Path(folder).iterdir()):
        raise InputError(
            f"{where}: {folder} has no weights in safetensors, and pickled ones are not read; "
            f"convert them with transformers: AutoModelForSequenceClassification"
            f".from_pretrained(…).save_pretrained(…)"
        )
    own_code = "auto_map" in config
    if own_code and not trust_remote_code:
        raise InputError(
            f"{where}: {folder} brings code of its own, which runs only with "
            f"trust_remote_code: true"
        )
    kinds = config.get("architectures") or []
    if kinds and not own_code and not any("SequenceClassification" in str(k) for k in kinds):
        raise InputError(
            f"{where}: {folder} is no sequence classifier but {', '.join(map(str, kinds))}"
        )
    named = config.get("id2label")
    if isinstance(named, dict) and named:
        labels = [named.get(str(i), f"LABEL_{i}") for i in range(len(named))]
    else:
        count = config.get("num_labels", 2)
        labels = [f"LABEL_{i}" for i in range(count if isinstance(count, int) else 2)]
    several = config.get("problem_type") == "multi_label_classification"
    numbers = None if several else tuple(map(float, range(len(labels))))
    alone = len(labels) == 1 and not several
    return Outputs(tuple(map(str, labels)), numbers, regression=alone, independent=several)


class TransformersClassifier:
    """A sequence classifier on one device."""

    def __init__(self, spec: ClassifierSpec, folder: str, threads: int) -> None:
        """Load the model and check that it works.

        Args:
            spec: which model, and how.
            folder: where its files are.
            threads: CPU threads to use.

        Raises:
            InputError: it cannot be loaded, has no trained head, or gives no finite numbers.
        """
        self._spec = spec
        self._lanes = _Logits(spec, folder, threads)
        self.window = self._lanes.window
        self.load_seconds = 0.0
        self._check_probes()

    def score(
        self,
        batches: Iterable[list[str]],
        stats: ClassifyStats,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Float32Array]:
        """Score batches of texts; see ``TextClassifier``."""
        beat = one_at_a_time(on_progress)
        waiting: collections.deque[_Batch] = collections.deque()
        for texts in batches:
            sequences = self._lanes.tokenizer.tokenize(texts)
            blank = np.array([not text or text.isspace() for text in texts], bool)
            waiting.append((sequences, blank, self._lanes.submit(sequences, beat)))
            if len(waiting) > self._lanes.ahead:
                yield self._finish(waiting.popleft(), stats)
        while waiting:
            yield self._finish(waiting.popleft(), stats)

    def _finish(self, batch: _Batch, stats: ClassifyStats) -> Float32Array:
        sequences, blank, wait = batch
        encoded = wait()
        shares = self._shares(encoded.vectors)
        if self._spec.precision == "fp32":
            near = np.flatnonzero(_is_near(shares))
            shares[near] = self._shares(self._lanes.alone(sequences, near))
            stats.read_again += len(near)
        shares[blank | (sequences.lengths == 0)] = np.nan
        stats.documents += len(shares)
        stats.tokens += len(sequences.ids)
        stats.padded_tokens += encoded.padded_tokens
        stats.not_judged += int(np.isnan(shares).sum())
        stats.forward_seconds += encoded.seconds / self._lanes.lanes
        least, most = self._spec.range
        rounded = np.clip(np.round(shares * _STEPS) / _STEPS, 0, 1)
        return (least + rounded * (most - least)).astype(np.float32)

    def _shares(self, logits: Float32Array) -> npt.NDArray[np.float64]:
        """Where between least and most each score lies, beyond 0 to 1 too: float64 ``[n]``."""
        values = scores(self._spec, logits.astype(np.float64))
        least, most = self._spec.range
        return np.where(np.isfinite(values), (values - least) / (most - least), np.nan)

    def _check_probes(self) -> None:
        """Read three texts together and alone.

        Raises:
            InputError: what comes out is not finite, or depends on the padding.
        """
        spec, lanes = self._spec, self._lanes
        sequences = lanes.tokenizer.tokenize(_PROBES)
        rows = np.arange(len(_PROBES))
        try:
            logits = lanes.alone(sequences, rows)
            if logits.shape[1:] != (lanes.dimension,):
                raise ValueError(f"it gives numbers of shape {logits.shape} for {len(rows)} texts")
            alone = self._shares(logits)
            padded = self._shares(lanes.together(sequences, rows))
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{spec.where}: model: {spec.model!r} cannot read plain texts of up to "
                f"{lanes.tokenizer.max_tokens} tokens: {error}; if that is more than the model was "
                f"made for, set max_tokens"
            ) from error
        if not np.isfinite(alone).all():
            raise InputError(
                f"{spec.where}: model: {spec.model!r} gives values that are not finite for plain "
                f"texts"
            )
        change = float(np.abs(alone - padded).max())
        if not change <= _MOST_CHANGE[spec.precision] and spec.batch_tokens != 1:
            raise InputError(
                f"{spec.where}: model: {spec.model!r} gives a text another score when it is padded "
                f"(by {change:.2g} of the range); set batch_tokens: 1, which reads each text alone"
            )


_Batch = tuple[Sequences, npt.NDArray[np.bool_], Callable[[], Encoded]]


def scores(spec: ClassifierSpec, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The score of each text, uncut: float64 ``[n]`` from float64 ``[n, classes]``."""
    if spec.output == "value":
        return logits[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # not finite: no score
        if spec.output == "independent":
            found: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits[:, spec.label]))
            return found
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances = powers / powers.sum(axis=1, keepdims=True)
    if spec.output == "expected":
        expected: npt.NDArray[np.float64] = (chances * np.arange(logits.shape[1])).sum(axis=1)
        return expected
    probability: npt.NDArray[np.float64] = chances[:, spec.label]
    return probability


def _is_near(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether rounding to a step could go either way."""
    places = shares * _STEPS
    distance = np.abs(places - np.floor(places) - 0.5)
    inside = (shares > 0) & (shares < 1)
    return inside & (distance < _MARGIN * _STEPS)


class _Logits(TorchLanes):
    """The network's raw outputs, before anything is made of them."""

    def __init__(self, spec: ClassifierSpec, folder: str, threads: int) -> None:
        import torch

        device = "cuda:0" if spec.device == "cuda" else "cpu"
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(spec.precision, torch.float32)
        network, tokenizer = _load(spec, folder, dtype)
        super().__init__(tokenizer, int(network.config.num_labels), device, threads)
        self._network = network.to(self._device)
        self.start(spec.batch_tokens)

    def alone(self, sequences: Sequences, rows: npt.NDArray[np.intp]) -> Float32Array:
        """Each of some sequences in a pass of its own: float32 ``[m, dimension]``."""
        tasks = [
            self._pool.submit(self._run, sequences, [rows[i : i + 1]], _no_beat)
            for i in range(len(rows))
        ]
        found = [task.result()[0][0][1] for task in tasks]
        return np.concatenate(found) if found else np.zeros((0, self.dimension), np.float32)

    def together(self, sequences: Sequences, rows: npt.NDArray[np.intp]) -> Float32Array:
        """Some sequences in one pass, padded to the longest: float32 ``[m, dimension]``."""
        found = self._run(sequences, [rows], _no_beat)[0]
        return np.concatenate([output for _, output, _ in found])

    def _launch(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Any:
        with self._torch.inference_mode():
            found = self._network(input_ids=self._moved(ids), attention_mask=self._moved(mask))
            return found.logits.float()


def _load(spec: ClassifierSpec, folder: str, dtype: Any) -> tuple[Any, ModelTokenizer]:
    """Network and tokenizer as transformers loads them, from the folder alone."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": spec.trust_remote_code}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        network, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
        )
    except Exception as error:  # whatever a broken file makes three libraries raise
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(f"{spec.where}: model: cannot load {spec.model!r}: {first}") from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{spec.where}: model: {spec.model!r} lacks weights that a sequence classifier needs, "
            f"{', '.join(missing[:3])}: it has not been trained to classify"
        )
    return network.eval(), _text_tokenizer(spec, tokenizer, network.config)


def _text_tokenizer(spec: ClassifierSpec, tokenizer: Any, config: Any) -> ModelTokenizer:
    """The tokenizer, cut to the spec's length and the model's own."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise InputError(
            f"{spec.where}: model: {spec.model!r} has no fast tokenizer (tokenizer.json); save one "
            f"with transformers: AutoTokenizer.from_pretrained(…).save_pretrained(…)"
        )
    pad_id = tokenizer.pad_token_id
    if pad_id is None:
        pad_id = tokenizer.eos_token_id or 0
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = pad_id  # decoders find a text's last token by it
    limits = [spec.max_tokens, tokenizer.model_max_length]
    if places := getattr(config, "max_position_embeddings", 0):
        # the RoBERTa family counts its positions from behind the padding's
        shifted = "roberta" in config.model_type or config.model_type in ("camembert", "mpnet")
        limits.append(places - (pad_id + 1 if shifted else 0))
    found = ModelTokenizer(
        copy.deepcopy(fast),  # the model's own calls set padding and truncation on theirs
        int(min(limits)),
        truncation_side=tokenizer.truncation_side,
    )
    found.pad_id, found.pad_left = pad_id, tokenizer.padding_side == "left"
    return found


def _read_config(path: Path, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{where}: {path.parent} is no model: it has no config.json") from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"{where}: cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: {path} holds no JSON object")
    return found


def _no_beat(documents: int, tokens: int) -> None: ...
