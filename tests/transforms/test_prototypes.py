"""The share of documents that is nearest to its centroid, found over parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixcurate.io import storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.prototypes import Limit, are_prototypes
from mixcurate.transforms import prototypes
from mixcurate.transforms.cluster import assigned_path
from mixcurate.transforms.prototypes import FindPrototypes, Pool, limit_path
from mixcurate.transforms.runner import BeamArgs, make_pipeline
from tests.transforms.small_workdir import write_assigned, write_documents

ARGS = BeamArgs("FnApiRunner", (), 1, None)
KEPT = np.array([True, False, True])


def dropped(workdir: Workdir, sizes: dict[str, int], share: float, dedup: bool) -> set[str]:
    pool = Pool(workdir, KEPT, 5, dedup)
    pipeline = make_pipeline(ARGS, job_name="prototypes", work_seconds=0)
    FindPrototypes(pool, list(sizes), share).build(pipeline)
    pipeline.run().wait_until_finish()
    limit = Limit(**storage.read_json(limit_path(workdir)))
    found = set()
    for part in sizes:
        rows = np.flatnonzero(are_prototypes(*pool.read(part), limit))
        found |= {f"{part}-{row:04d}" for row in rows.tolist()}
    return found


def fill(folder: Path, sizes: dict[str, int]) -> tuple[Workdir, dict[str, tuple[int, float]]]:
    workdir, every = Workdir(str(folder)), {}
    random = np.random.default_rng(7)
    for part, n in sizes.items():
        write_documents(workdir, part, n)
        cluster = random.integers(-1, 3, n)
        distance = np.round(random.random(n), 2)  # many ties
        write_assigned(workdir, assigned_path(workdir, part), cluster.tolist(), distance.tolist())
        every |= {
            f"{part}-{row:04d}": (int(cluster[row]), float(distance[row])) for row in range(n)
        }
    return workdir, every


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_the_nearest_share_of_the_pool_is_dropped_to_the_document(
    tmp_path: Path, share: float
) -> None:
    sizes = {"a": 150, "b": 1, "c": 90}
    workdir, every = fill(tmp_path, sizes)
    pool = {name: far for name, (cluster, far) in every.items() if cluster in (0, 2)}
    found = dropped(workdir, sizes, share, dedup=False)
    assert len(found) == int(share * len(pool))
    assert found <= set(pool)
    rest = [far for name, far in pool.items() if name not in found]
    assert max((pool[name] for name in found), default=0) <= min(rest)


def test_duplicates_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir, every = fill(tmp_path, {"a": 100})
    pool = sorted(far for cluster, far in every.values() if cluster in (0, 2))
    inside = [row for row, (cluster, _) in enumerate(every.values()) if cluster in (0, 2)]
    gone = np.array(inside[:20])
    monkeypatch.setattr(prototypes, "read_drops", lambda *_: (gone, [], None))
    found = dropped(workdir, {"a": 100}, 0.5, dedup=True)
    assert len(found) == (len(pool) - 20) // 2
    assert not found & {f"a-{row:04d}" for row in gone.tolist()}
