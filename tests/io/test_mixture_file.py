from __future__ import annotations

import csv
import json
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixcurate.errors import InputError, RequestError
from mixcurate.io import mixture_file
from mixcurate.io.mixture_file import read_shares

REGMIX = """\
train:
  train_the_pile_arxiv: 0.0036
  train_the_pile_pile_cc: 6.057e-1
  train_the_pile_wikipedia_en: 0.0699
valid:
  valid_the_pile_pile_cc: 1.0
model_name: tinyllama_1_1b
"""
SCRIPT = """\
#!/bin/bash
cat <<EOF
0.31 /data/tokens/books_text_document
0.69 /data/tokens/cluster_3
EOF
"""
OLMIX = """\
run,name,index,dclm:science,dclm:games,wikipedia
a1,first,0,0.5,0.3,0.2
b2,second,1,0.1,0.2,0.7
"""
ANY_FOLDER = [HealthCheck.function_scoped_fixture]


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def test_regmix(write):
    found = read_shares(write("doremi.yaml", REGMIX))
    assert found == {
        "the_pile_arxiv": 0.0036,
        "the_pile_pile_cc": 0.6057,
        "the_pile_wikipedia_en": 0.0699,
    }
    flat = "train_books: 1\ntrain_web: 3e-1\nvalid_books: 1.0\n"
    assert read_shares(write("flat.yml", flat)) == {"books": 1, "web": 0.3}


@pytest.mark.parametrize("run", ["b2", "second", "1"])
def test_olmix_by_run_name_or_index(write, run):
    found = read_shares(write("ratios.csv", OLMIX), run=run)
    assert found == {"dclm:science": 0.1, "dclm:games": 0.2, "wikipedia": 0.7}


def test_a_csv_of_one_run_needs_no_name(write):
    text = ',train_books,train_web\n"7","0.25", 0.75 \n'
    assert read_shares(write("one.csv", "\ufeff" + text)) == {"books": 0.25, "web": 0.75}


def test_a_script_that_prints_weights(write):
    expected = {"books": 0.31, "cluster_3": 0.69}
    assert read_shares(write("n1.sh", SCRIPT)) == expected
    assert read_shares(write("n1.txt", SCRIPT)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "3 /data/books\n1 /data/web.bin\n",
        "3 /data/books 1 web/\n",
        "3\n/data/books_text_document\n\n1\n/data/web_text_document.idx # ours\n",
    ],
)
def test_megatron_lines_however_they_are_broken(write, text):
    assert read_shares(write("blend.txt", text)) == {"books": 3, "web": 1}


def test_a_script_that_assigns_weights_among_other_things(write):
    text = """\
#!/bin/bash
set -euo pipefail
SEQ_LENGTH=4096
BLEND=""
BLEND="${BLEND} 1442858730 /data/wiki/ja_wiki_text_document"
export BLEND="$BLEND 4697570389 /data/wiki/en_wiki_text_document"
OTHER="0.5 /data/code 1.5 /data/law"
torchrun pretrain.py --lr 5e-4 --seed 1234 \\
    --data-path 2 /data/books 3 /data/web --split 99,1,0 \\
    --train-iters 10000
exit 1
"""
    assert read_shares(write("train.sh", text)) == {
        "ja_wiki": 1442858730,
        "en_wiki": 4697570389,
        "code": 0.5,
        "law": 1.5,
        "books": 2,
        "web": 3,
    }


def test_doremi(write):
    value = {"train_domain_weights": {"Pile-CC": 0.6, "Github": 0.4}, "eval_domain_weights": {}}
    assert read_shares(write("d.json", json.dumps(value))) == {"Pile-CC": 0.6, "Github": 0.4}
    assert read_shares(write("flat.json", '{"a": 1, "b": 0}')) == {"a": 1, "b": 0}


def test_names_call_a_domain_otherwise_and_may_add_up(write):
    path = write("blend.txt", "1 /a/books 2 /b/books 3 web")
    names = {"/a/books": "prose", "/b/books": "prose", "web": "the web"}
    assert read_shares(path, names=names) == {"prose": 3, "the web": 3}
    path = write("r.yaml", REGMIX)
    names = {"train_the_pile_arxiv": "papers", "the_pile_pile_cc": "web"}
    assert read_shares(path, names=names) == {
        "papers": 0.0036,
        "web": 0.6057,
        "the_pile_wikipedia_en": 0.0699,
    }
    with pytest.raises(RequestError, match=r"has no 'the_pile_arxive'; did you mean"):
        read_shares(path, names={"the_pile_arxive": "papers"})


BAD = [
    ("a.csv", "run,books\n", "a header with the domains and a row of weights are missing"),
    ("a.csv", "", "a header with the domains"),
    ("a.csv", "books,web\n1\n", ":2: 1 cells, the header has 2; one cell a column"),
    ("a.csv", "books,web\n\n1,much\n", ":3: the weight of 'web' is 'much'; give a number"),
    ("a.csv", "books,web\n1,-0.5\n", ":2: the weight of 'web' is '-0.5'"),
    ("a.csv", "books,web\n1,nan\n", ":2: the weight of 'web' is 'nan'"),
    ("a.csv", "books,web\n1,1e999\n", ":2: the weight of 'web' is '1e999'"),
    ("a.csv", "books,web\n1,\n", ":2: the weight of 'web' is ''"),
    ("a.csv", "books,web\n1,1_0\n", ":2: the weight of 'web' is '1_0'"),
    ("a.csv", "books,books\n1,2\n", ":2: 'books' has a weight already; remove one"),
    ("a.csv", 'books,web\n1,"2\n', "not CSV"),
    ("a.csv", "books\n0\n", "no weight above 0; give one to each"),
    ("a.csv", b"books\n\xff\n", ":2: not UTF-8; save the file as UTF-8"),
    ("a.yaml", "train:\n  train_a: x\n", ":2: the weight of 'train_a' is 'x'"),
    ("a.yaml", "train:\n  train_a: [1]\n", ":2: 'train_a' holds no number; give its weight"),
    ("a.yaml", "train:\n  train_a: 1\n  train_a: 1\n", ":3: 'a' has a weight already"),
    ("a.yaml", "- 1\n", ":1: write lines 'train_<domain>: weight' below 'train:'"),
    ("a.yaml", "", ":1: write lines"),
    ("a.yaml", "train: 3\n", ":1: write lines"),
    ("a.yaml", "? [a]\n: 1\n", ":1: a key must be the name of a domain"),
    ("a.yaml", "a: b: c\n", ":1: not YAML: mapping values are not allowed here"),
    ("a.yaml", "a: *b\n", ":1: not YAML: found undefined alias"),
    ("a.yaml", "[" * 900, "nested too deep"),
    ("a.yaml", "weights: 3\n", ":1: write lines 'train_<domain>: weight'"),
    ("a.txt", "", "ends without a pair of a weight and a prefix; write both"),
    ("a.txt", "0.5 a 0.5", ":1: ends without a pair"),
    ("a.txt", "/data/a\n/data/b\n", ":1: '/data/a' stands where a weight belongs"),
    ("a.txt", "0.5 a\n0.2 0.3\n", ":2: the weight 0.2 has no prefix"),
    ("a.txt", "-1 a\n", ":1: the weight of 'a' is '-1'"),
    ("a.txt", "inf a\n", ":1: the weight of 'a' is 'inf'"),
    ("a.txt", "1 /x/a\n1 /y/a\n", ":2: 'a' has a weight already; remove one, or say with"),
    ("a.sh", "#!/bin/bash\necho hello\n", "ends without a pair"),
    ("a.json", '{"a": 1,\n}', "not JSON"),
    ("a.json", '{"a": 1, "a": 2}', "'a' has a weight already"),
    ("a.json", '{"a": NaN}', "the weight of 'a' is 'nan'"),
    ("a.json", '{"a": true}', "the weight of 'a' is 'True'"),
    ("a.json", '{"a": null}', "the weight of 'a' is 'None'"),
    ("a.json", '{"a": {"b": 1}}', "the weight of 'a' is dict"),
    ("a.json", "[1]", 'write {"train_domain_weights"'),
    ("a.json", "{}", 'write {"train_domain_weights"'),
    ("a.json", "[" * 100_000, "not JSON"),
    ("a.json", '{"a": ' + "9" * 5_000 + "}", "not JSON"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_what_cannot_be_read_is_told_with_its_place(write, name, content, message):
    path = write(name, content)
    with pytest.raises(InputError, match=re.escape(path) + ".*" + re.escape(message)):
        read_shares(path)


def test_requests_that_fit_no_file(write):
    with pytest.raises(InputError, match=r"cannot read .*: No such file.*mixture.file.path"):
        read_shares("/nowhere/ratios.csv")
    with pytest.raises(RequestError, match=r"has 2 runs; say which with mixture.file.run"):
        read_shares(write("ratios.csv", OLMIX))
    with pytest.raises(RequestError, match=r"no run 'sekond'; did you mean 'second'\?"):
        read_shares(write("ratios.csv", OLMIX), run="sekond")
    with pytest.raises(InputError, match=r"lines 2 and 3 both are run 'x'"):
        read_shares(write("twice.csv", "run,a\nx,1\nx,2\n"), run="x")
    with pytest.raises(RequestError, match=r"holds one mixture; only a CSV has runs"):
        read_shares(write("d.json", '{"a": 1}'), run="x")
    with pytest.raises(RequestError, match=r"the ending tells no format; set mixture.file.format"):
        read_shares(write("shares.conf", "1 a"))
    assert read_shares(write("shares.conf", "1 a"), kind="megatron") == {"a": 1}


def test_a_large_file_is_not_read(write, monkeypatch):
    monkeypatch.setattr(mixture_file, "MAX_BYTES", 10)
    with pytest.raises(InputError, match=r"has 11 bytes; a file of shares has 10 at most"):
        read_shares(write("a.txt", "1 aaaaaaaaa"))
    monkeypatch.setattr(mixture_file, "MAX_BYTES", 1_000)
    monkeypatch.setattr(mixture_file, "MAX_YAML_BYTES", 10)
    with pytest.raises(InputError, match=r"YAML has 10 at most"):
        read_shares(write("a.yaml", "train_a: 0.5"))


NAMES = (
    st.text("abcdefgh:_- ", min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda name: name and name not in ("run", "name", "index"))
)
SHARES = st.dictionaries(NAMES, st.floats(1e-9, 1e9), min_size=1, max_size=8)


@given(SHARES)
@settings(max_examples=40, deadline=None, suppress_health_check=ANY_FOLDER)
def test_every_format_gives_back_what_its_writer_wrote(tmp_path, shares):
    table = tmp_path / "ratios.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["run", *shares], ["one", *shares.values()]])
    assert read_shares(str(table)) == shares
    lines = tmp_path / "regmix.yaml"
    lines.write_text(yaml.safe_dump({"train": {f"train_{n}": w for n, w in shares.items()}}))
    assert read_shares(str(lines)) == shares
    (tmp_path / "doremi.json").write_text(json.dumps({"train_domain_weights": shares}))
    assert read_shares(str(tmp_path / "doremi.json")) == shares
    plain = {name.replace(" ", "_"): weight for name, weight in shares.items()}
    text = " ".join(f"{weight} /tokens/{name}" for name, weight in plain.items())
    (tmp_path / "blend.txt").write_text(text)
    assert read_shares(str(tmp_path / "blend.txt")) == plain


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=60, deadline=None, suppress_health_check=ANY_FOLDER)
def test_any_bytes_are_shares_or_one_error(tmp_path, content):
    for ending in ("csv", "yaml", "txt", "sh", "json"):
        path = tmp_path / f"any.{ending}"
        path.write_bytes(content)
        try:
            found = read_shares(str(path))
        except (InputError, RequestError):
            continue
        assert sum(found.values()) > 0
