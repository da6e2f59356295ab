"""What runs in the peers' own interpreter: BERTopic's pipelines, and static vectors of wordllama.

    python agreement_peers.py bertopic FOLDER K SEED...
    python agreement_peers.py static FOLDER

FOLDER holds ``texts.json`` and ``vectors.npy``. Labels and vectors are written there; what it took,
in CPU seconds, is printed as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def bertopic(folder: Path, k: int, seeds: list[int]) -> list[dict[str, Any]]:
    """UMAP to 5 dimensions, as BERTopic sets it, then k-means, or HDBSCAN with topics merged.

    UMAP is computed once per seed and its time counted for both. Its compilation is not counted.
    """
    from bertopic import BERTopic
    from bertopic.dimensionality import BaseDimensionalityReduction
    from hdbscan import HDBSCAN
    from sklearn.cluster import KMeans
    from umap import UMAP

    texts = json.loads((folder / "texts.json").read_text())
    vectors = np.load(folder / "vectors.npy")
    reducer = {"n_neighbors": 15, "n_components": 5, "min_dist": 0.0, "metric": "cosine"}
    UMAP(random_state=0, **reducer).fit_transform(vectors[:500])
    found = []
    for seed in seeds:
        started = time.process_time()
        reduced = UMAP(random_state=seed, **reducer).fit_transform(vectors)
        umap = time.process_time() - started
        groupers = {
            "kmeans": (KMeans(k, n_init=10, random_state=seed), None),
            "hdbscan": (HDBSCAN(min_cluster_size=10, prediction_data=True), k + 1),
        }
        for name, (grouper, topics) in groupers.items():
            started = time.process_time()
            model = BERTopic(
                umap_model=BaseDimensionalityReduction(), hdbscan_model=grouper, nr_topics=topics
            )
            labels, _ = model.fit_transform(texts, reduced)
            taken = umap + time.process_time() - started
            np.save(folder / f"{name}.{seed}.npy", np.array(labels))
            found.append({"name": name, "seed": seed, "seconds": taken})
    return found


def static(folder: Path) -> list[dict[str, Any]]:
    """Static vectors of wordllama, from the weights in its package."""
    import wordllama

    texts = json.loads((folder / "texts.json").read_text())
    model = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    started = time.process_time()
    vectors = model.embed(texts, norm=True)
    np.save(folder / "static.npy", vectors)
    return [{"name": "static", "seconds": time.process_time() - started}]


if __name__ == "__main__":
    where = Path(sys.argv[2])
    if sys.argv[1] == "static":
        print(json.dumps(static(where)))
    else:
        print(json.dumps(bertopic(where, int(sys.argv[3]), [int(n) for n in sys.argv[4:]])))
