"""Any sentence-transformers model by torch.

``SentenceTransformer.encode`` uses a fixed batch size and waits for each batch; here ``TorchLanes``
does the batching.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.errors import InputError
from mixcurate.models.encoders import EncoderSpec
from mixcurate.models.torch_lanes import ModelTokenizer, TorchLanes


class TorchBackend(TorchLanes):
    """A sentence-transformers model on one device."""

    def __init__(self, spec: EncoderSpec, folder: str, threads: int, device: str) -> None:
        """Load the model.

        Args:
            spec: which model, and how.
            folder: where its files are.
            threads: CPU threads to use.
            device: cpu, or one GPU such as cuda:0.

        Raises:
            InputError: the model cannot be loaded.
        """
        import torch

        model = load_model(spec, folder, torch.device(device))
        super().__init__(
            text_tokenizer(model, spec), int(model.get_embedding_dimension()), device, threads
        )
        self._network, self._tail = model[0], list(model)[1:]
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(spec.precision, torch.float32)
        self._network.to(dtype)
        for module in self._tail:
            module.float()
        self.normalises = any(type(module).__name__ == "Normalize" for module in self._tail)
        self.start(spec.batch_tokens)

    def _launch(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Any:
        features = {"input_ids": self._moved(ids), "attention_mask": self._moved(mask)}
        with self._torch.inference_mode():
            output = self._network(features)
            # pooled in fp32: a mean over bf16 loses what the network has kept
            output["token_embeddings"] = output["token_embeddings"].float()
            for module in self._tail:
                output = module(output)
            return output["sentence_embedding"].float()


def load_model(spec: EncoderSpec, folder: str, device: Any = "cpu") -> Any:
    """The model as sentence-transformers loads it, in evaluation mode.

    Raises:
        InputError: it cannot be loaded, or is no text transformer.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model = SentenceTransformer(
            folder, device=str(device), trust_remote_code=spec.trust_remote_code
        )
    except Exception as error:  # whatever a broken file makes three libraries raise
        raise InputError(f"embed.model: cannot load {spec.name!r}: {error}") from error
    kind = type(model[0]).__name__
    if kind != "Transformer":
        raise InputError(f"embed.model: {spec.name!r} starts with {kind}, which is not supported")
    return model.eval()


def text_tokenizer(model: Any, spec: EncoderSpec) -> ModelTokenizer:
    """The tokenizer of a loaded model, cut to the spec's length and the model's own.

    Raises:
        InputError: the model has no fast tokenizer.
    """
    tokenizer = model.tokenizer
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise InputError(
            f"embed.model: {spec.name!r} has no fast tokenizer (tokenizer.json); save one with "
            f"transformers: AutoTokenizer.from_pretrained(…).save_pretrained(…)"
        )
    found = ModelTokenizer(
        copy.deepcopy(fast),  # the model's own calls set padding and truncation on theirs
        min(spec.max_tokens, model.max_seq_length or spec.max_tokens),
        prompt=model.prompts.get(model.default_prompt_name or "", ""),
        windows=spec.max_windows if spec.long_documents == "mean_of_windows" else 1,
        truncation_side=tokenizer.truncation_side,
    )
    found.pad_id = tokenizer.pad_token_id or 0
    found.pad_left = tokenizer.padding_side == "left"
    return found
