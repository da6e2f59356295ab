from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mixcurate.errors import InputError
from mixcurate.io.host_table import read_host_links, read_host_scores

REAL = Path("/work/shared/data/graph")
ROWS = "host,position,pagerank,harmonic\na.org,1,0.5,9\nb.org,2,0.25,8\n"


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_csv_tsv_parquet_and_packed_ones_are_the_same(tmp_path: Path) -> None:
    tabs = ROWS.replace(",", "\t").encode()
    table = pa.table({"host": ["a.org", "b.org"], "position": [1, 2], "pagerank": [0.5, 0.25]})
    pq.write_table(table, tmp_path / "t.parquet")
    paths = [
        write(tmp_path / "t.csv", ROWS),
        write(tmp_path / "t.tsv", tabs),
        write(tmp_path / "t.txt.gz", gzip.compress(tabs)),
        write(tmp_path / "t.csv.zst", zstandard.compress(ROWS.encode())),
        write(tmp_path / "t.json", orjson.dumps({"a.org": 0.5, "b.org": 0.25})),
        str(tmp_path / "t.parquet"),
    ]
    for path in paths:
        found = read_host_scores(path, None)
        assert found.names.to_pylist() == ["a.org", "b.org"]
        assert found.scores.tolist() == [0.5, 0.25]
        assert not found.of_domains
    assert read_host_scores(paths[0], "harmonic").scores.tolist() == [9, 8]


def test_common_crawls_columns_are_known(tmp_path: Path) -> None:
    head = "#harmonicc_pos\t#harmonicc_val\t#pr_pos\t#pr_val\t#host_rev\t#n_hosts\n"
    path = write(tmp_path / "ranks.txt", head + "1\t3.1E7\t2\t0.005\tcom.facebook\t8379\n")
    found = read_host_scores(path, None)
    assert (found.names.to_pylist(), found.column) == (["com.facebook"], "harmonicc_val")
    assert found.scores.tolist() == [3.1e7]
    assert read_host_scores(path, "#pr_val").scores.tolist() == [0.005]


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("", None, "holds no row"),
        ("host,pagerank\n", None, "holds no row"),
        ("site,score\na.org,1\n", None, "no column of hosts; it has site, score"),
        ("host,name\na.org,x\n", None, "no column of scores"),
        ("host,pagerank\na.org,1\n", "pagerak", "did you mean 'pagerank'"),
        ("host,pr_pos,pr\na.org,1,2\n", "pr_pos", "holds positions or counts.*'pr'"),
        ("host,pr\na.org,1\nb.org,-2\n", None, "row 2: pr is -2"),
        ("host,pr\na.org,1\nb.org,\n", None, "row 2: pr is nan"),
        ("host,pr\na.org,1\nb.org,2,3\n", None, "cannot read"),
        (b"\x28\xb5\x2f\xfd\0", None, "zstd data ends too early"),
        ('{"a.org": "x"}', None, "no JSON object"),
        ('{"a.org": 1', None, "no JSON object"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, content: str | bytes, column: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_host_scores(write(tmp_path / "t.csv", content), column)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_host_scores(str(tmp_path / "none.csv"), None)
    with pytest.raises(InputError, match="cannot read"):
        read_host_links(write(tmp_path / "x.parquet", b"PAR1 and nothing else"))


def test_links(tmp_path: Path) -> None:
    content = "target,source,n\nb.org,a.org,3\nc.org,b.org,1\n"
    found = read_host_links(write(tmp_path / "links.csv.gz", gzip.compress(content.encode())))
    assert [end.to_pylist() for end in found] == [["a.org", "b.org"], ["b.org", "c.org"]]
    with pytest.raises(InputError, match="name them 'source' and 'target'"):
        read_host_links(write(tmp_path / "links.csv", "a,b\nx.org,y.org\n"))


@pytest.mark.skipif(not REAL.exists(), reason="the real ranks are not here")
@pytest.mark.parametrize("kind", ["host", "domain"])
def test_common_crawls_real_ranks(kind: str) -> None:
    found = read_host_scores(str(REAL / f"cc_{kind}_ranks_top1000.csv.zst"), "pagerank")
    assert len(found.names) == 5_000
    assert found.of_domains == (kind == "domain")
    assert "facebook.com" in found.names.to_pylist()
    assert 0 < found.scores.min() < found.scores.max() < 0.1
    assert read_host_scores(str(REAL / f"cc_{kind}_ranks_top1000.csv.zst"), None).column == (
        "harmonic"
    )
