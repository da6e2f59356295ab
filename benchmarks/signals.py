"""CPU time of all signals and rules against datatrove's filters, and whether verdicts are right.

    python -m benchmarks.signals FILES [--datatrove-python /path/to/venv/bin/python]

FILES are JSON Lines with `text` (or `lines`), .zst or not. Printed are, for each file: milliseconds
of CPU a document, single-threaded, for what the preset `fineweb` needs (lines, signals, rules);
how many signals and verdicts differ from those of a plain loop over documents; and, where an
interpreter with datatrove is named, its time for the same filters on the same documents, in the
same run, and how often each filter keeps the same documents. datatrove counts the tokens of spaCy
as words and mixcurate what stands between whitespace, so that some verdicts differ by intent.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH = 1_000
ROUNDS = 3


def read_texts(path: Path, most: int) -> list[str]:
    """Texts of a file, evenly thinned to ``most``; lines that are no JSON are told and skipped."""
    import orjson
    import zstandard

    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data).read()
    texts = []
    for line in data.splitlines():
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            print(f"{path.name}: a line of {len(line):,} bytes is no JSON, left out")
            continue
        texts.append((record.get("text") or "\n".join(record.get("lines", []))).strip())
    texts = [text for text in texts if text]
    return texts[:: -(-len(texts) // most)] if most else texts


def measure(texts: list[str], languages: list[str]) -> dict[str, dict[str, list[str | None]]]:
    """Prints the time; the verdicts of each preset on the texts as they are."""
    import pyarrow as pa

    from mixcurate.kernels import filters, lines, signals

    batches = [
        (
            pa.array(texts[i : i + BATCH], pa.large_string()),
            pa.array(languages[i : i + BATCH], pa.string()),
        )
        for i in range(0, len(texts), BATCH)
    ]
    seconds: dict[str, list[float]] = {"lines": [], "signals": [], "rules": []}
    by_tokens: list[float] = []
    found: dict[str, dict[str, list[str | None]]] = {}
    for _ in range(ROUNDS):
        started = time.process_time()
        for text, _ in batches:
            lines.clean_lines(text, lines.PRESET_LINES["fineweb"])
        seconds["lines"].append(time.process_time() - started)
        started = time.process_time()
        values = [signals.text_signals(t, codes) for t, codes in batches]
        seconds["signals"].append(time.process_time() - started)
        started = time.process_time()
        found["as they are"] = {
            preset: names(values, batches, bounds) for preset, bounds in filters.PRESETS.items()
        }
        seconds["rules"].append(time.process_time() - started)
        started = time.process_time()
        for text, codes in batches:
            signals.text_signals(text, codes, words="tokens")
        by_tokens.append(time.process_time() - started)
    best = {name: min(taken) / len(texts) * 1e3 for name, taken in seconds.items()}
    words = sum(len(text.split()) for text in texts) / len(texts)
    print(
        f"  {len(texts):,} documents of {words:.0f} words: {sum(best.values()):.3f} ms a document ("
        + ", ".join(f"{name} {value:.3f}" for name, value in best.items())
        + f"); signals by tokens {min(by_tokens) / len(texts) * 1e3:.3f}"
    )
    found["time"] = {"total": [str(sum(best.values()))]}
    return found


def names(values: list, batches: list, bounds: dict) -> list[str | None]:
    """The first rule that each document fails."""
    from mixcurate.kernels import filters

    failed = [
        filters.first_failures(batch, codes, bounds)
        for batch, (_, codes) in zip(values, batches, strict=True)
    ]
    return [None if i < 0 else list(bounds)[i] for part in failed for i in part.tolist()]


def compare_with_reference(texts: list[str], languages: list[str], found: dict) -> None:
    """How many values and verdicts differ from those of a loop over documents."""
    import numpy as np
    import pyarrow as pa

    from mixcurate.kernels import filters, lines, signals
    from tests.kernels import reference_lines, reference_signals

    pairs = list(zip(texts, languages, strict=True))
    expected = [reference_signals.reference(text, code) for text, code in pairs]
    differing = 0
    for i in range(0, len(texts), BATCH):
        codes = pa.array(languages[i : i + BATCH], pa.string())
        values = signals.text_signals(pa.array(texts[i : i + BATCH], pa.large_string()), codes)
        for name in signals.SIGNALS:
            wanted = np.array([row[name] for row in expected[i : i + BATCH]]).astype(np.float32)
            differing += int((values.column(name).to_numpy() != wanted).sum())
    print(
        f"  of {len(texts) * len(signals.SIGNALS):,} values {differing} differ from the reference"
    )
    for preset in filters.PRESETS:
        rules = lines.PRESET_LINES[preset]
        cleaned = [reference_lines.clean(text, rules) for text in texts]
        array = pa.array(texts, pa.large_string())
        other = sum(
            a != b
            for a, b in zip(lines.clean_lines(array, rules).to_pylist(), cleaned, strict=True)
        )
        verdicts = [
            reference_signals.first_failure(row, code, preset)
            for row, code in zip(expected, languages, strict=True)
        ]
        mine = found["as they are"][preset]
        wrong = sum(a != b for a, b in zip(mine, verdicts, strict=True))
        kept = sum(name is None for name in mine) / len(mine)
        print(f"  {preset}: {wrong} verdicts and {other} cleaned texts differ; keeps {kept:.1%}")


def compare_with_datatrove(python: str, texts: list[str], found: dict) -> None:
    """Runs this file under the other interpreter, which has datatrove."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.json", Path(folder) / "out.json"
        source.write_text(json.dumps(texts))
        command = [python, __file__, "--peer", str(source), str(target)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=False, capture_output=True, env=environment)
        if done.returncode != 0:
            print(f"  datatrove: {done.stderr.decode()[-300:]}")
            return
        theirs = json.loads(target.read_text())
    took, total = theirs.pop("ms"), float(found["time"]["total"][0])
    parts = ", ".join(f"{name} {value:.2f}" for name, value in took.items())
    ratio = sum(took.values()) / total
    print(f"  datatrove: {sum(took.values()):.2f} ms a document ({parts}), {ratio:.1f} times ours")
    print("  kept by             datatrove  ours, same documents  by tokens, same documents")
    for name, verdicts in theirs.items():
        kept = [reason is None for reason in verdicts]
        line = f"  {name:<18} {sum(kept) / len(kept):10.1%}"
        for words in ("whitespace", "tokens"):
            mine = own_verdicts(name, found["each"][words])
            same = sum(a == b for a, b in zip(mine, kept, strict=True)) / len(kept)
            line += f"  {sum(mine) / len(mine):10.1%} {same:14.1%}"
        print(line)


def own_verdicts(name: str, states: dict[str, list[dict[str, bool]]]) -> list[bool]:
    """Whether each document passes our rules that correspond to one of datatrove's filters."""
    from mixcurate.kernels import filters

    state = "cleaned" if name == "c4" else "as they are"
    own = {
        "gopher_quality": list(filters.PRESETS["gopher"])[:7],
        "gopher_repetition": [
            "gopher_line_chars" if rule == "duplicate_line_chars" else rule
            for rule in list(filters.PRESETS["gopher"])[7:]
        ],
        "c4": list(filters.PRESETS["c4"]),
        "fineweb": ["punctuated_lines", "short_lines", "duplicate_line_chars", "newline_ratio"],
    }[name]
    return [all(passed[rule] for rule in own) for passed in states[state]]


def each_rule(texts: list[str], languages: list[str], words: str) -> dict:
    """Whether each document passes each rule by itself, as it is and with its lines cleaned."""
    import pyarrow as pa

    from mixcurate.kernels import filters, lines, signals

    bounds = filters.PRESETS["fineweb"]
    gopher = filters.PRESETS["gopher"]
    array, codes = pa.array(texts, pa.large_string()), pa.array(languages, pa.string())
    states = {
        "as they are": array,
        "cleaned": lines.clean_lines(array, lines.PRESET_LINES["fineweb"]),
    }
    found = {}
    for state, text in states.items():
        values = signals.text_signals(text, codes, words=words)
        passed = {
            rule: (filters.first_failures(values, codes, {rule: bound}) < 0).tolist()
            for rule, bound in bounds.items()
        }
        passed["gopher_line_chars"] = (
            filters.first_failures(
                values, codes, {"duplicate_line_chars": gopher["duplicate_line_chars"]}
            )
            < 0
        ).tolist()
        found[state] = [
            dict(zip(passed, row, strict=True)) for row in zip(*passed.values(), strict=True)
        ]
    return found


def peer(source: Path, target: Path) -> None:
    """datatrove's side: reasons and milliseconds of each filter, as JSON."""
    import warnings

    from datatrove.data import Document
    from datatrove.pipeline import filters

    warnings.simplefilter("ignore")
    texts = json.loads(source.read_text())
    tried = {
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "gopher_quality": filters.GopherQualityFilter(),
        "c4": filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter(),
    }
    reasons: dict[str, list[str | None]] = {name: [] for name in tried}
    seconds = dict.fromkeys(tried, 0.0)
    for text in texts[:5]:
        for one in tried.values():
            one.filter(Document(text=text, id=""))
    for text in texts:
        for name, one in tried.items():  # its cache keeps the tokens from filter to filter
            document = Document(text=text, id="")
            started = time.process_time()
            try:
                verdict = one.filter(document)
            except ZeroDivisionError:
                verdict = (False, "no words")
            seconds[name] += time.process_time() - started
            reasons[name].append(None if verdict is True else verdict[1])
    took = {name: value / len(texts) * 1e3 for name, value in seconds.items()}
    target.write_text(json.dumps(reasons | {"ms": took}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--documents", type=int, default=0, help="of each file; all if not given")
    parser.add_argument("--language", help="of every document; identified if not given")
    parser.add_argument("--datatrove-python", help="an interpreter that has datatrove[processing]")
    args = parser.parse_args()
    from mixcurate.models.language import identify

    for path in args.files:
        print(path.name)
        texts = read_texts(path, args.documents)
        languages = [args.language] * len(texts) if args.language else identify(texts)[0]
        found = measure(texts, languages)
        compare_with_reference(texts, languages, found)
        if args.datatrove_python:
            found["each"] = {
                words: each_rule(texts, languages, words) for words in ("whitespace", "tokens")
            }
            compare_with_datatrove(args.datatrove_python, texts, found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        os.environ["POLARS_MAX_THREADS"] = "1"
        main()
