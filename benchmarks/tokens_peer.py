"""datatrove's tokenisation, run by an interpreter that has it: see ``benchmarks.tokens``.

    PY tokens_peer.py TOKENIZER TEXTS OUT KIND

Prints the CPU seconds that a step of ``KIND`` (``ds`` or ``megatron``) takes for the texts, a JSON
list, when it does not shuffle; the documents are there before it starts.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path


def main() -> None:
    tokenizer, texts, out, kind = sys.argv[1:]
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronDocumentTokenizer

    documents = [
        Document(text=text, id=str(i))
        for i, text in enumerate(json.loads(Path(texts).read_bytes()))
    ]
    if kind == "ds":
        step = DocumentTokenizer(
            out, tokenizer_name_or_path=tokenizer, eos_token="</s>", shuffle_documents=False
        )
    else:
        step = MegatronDocumentTokenizer(out, tokenizer_name_or_path=tokenizer, eos_token="</s>")
    _ = step.tokenizer
    before = resource.getrusage(resource.RUSAGE_SELF)
    step.run(iter(documents), 0, 1)
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
