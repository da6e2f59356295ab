"""A workdir whose documents are scored and drawn by plain Python, for tests of what explains it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Part, Success
from mixcurate.kernels import hashing
from mixcurate.tables import scores_schema
from mixcurate.transforms import diversity_columns, quality_columns, select
from tests.corpora import DOCUMENTS, NAMES, PARTS, build

SEED = 23
DIMENSIONS = [
    {"name": "fluency", "least": 0.0, "most": 1.0, "weight": 1.0, "origin": "heuristic"},
    {"name": "depth", "least": 0.0, "most": 4.0, "weight": 3.0, "origin": "head"},
]


class Scored:
    """A workdir whose documents are scored and drawn by plain Python, as the formulas stand.

    Args:
        folder: where to.
        each: compactness of each document, rather than of its cluster.
        missing: of the recipe; every tenth document lacks a dimension.
        changes: of ``pool.json``.
    """

    def __init__(
        self, folder: Path, *, each: bool = False, missing: str = "least", **changes: Any
    ) -> None:
        self.made = build(str(folder), until="cluster")
        self.workdir = self.made.workdir
        self.root = self.workdir.root
        self.ids, self.domain, self.licence = self._pool()
        self.missing, self.each = missing, each
        self.settings: dict[str, Any] = {
            "method": "samplemix", "alpha": 0.7, "tau": 0.25, "normalise": "minmax",
            "within": "pool", "max_epochs": None, "exact": "documents", "penalty": 0.4,
        } | changes  # fmt: skip
        self.write_recipe({})
        self._judge()
        self._measure()
        self._weigh()

    def _pool(self) -> tuple[list[str], list[int], list[str | None]]:
        columns: tuple[list[str], list[int], list[str | None]] = ([], [], [])
        for part in PARTS:
            table = partfiles.read_table(self.workdir.part("ingest", part), ["id", "licence"])
            columns[0].extend(table.column("id").to_pylist())
            columns[2].extend(table.column("licence").to_pylist())
            table = partfiles.read_table(self.workdir.part("cluster", part), ["domain"])
            columns[1].extend(table.column("domain").to_pylist())
        return columns

    def write_recipe(self, mixture: dict[str, Any]) -> None:
        recipe = {
            "seed": SEED,
            "score": {"quality": {"missing": self.missing}},
            "mixture": {"max_epochs": 3} | mixture,
        }
        storage.write_json(self.workdir.path("recipe.yaml"), recipe)

    def _judge(self) -> None:
        random = np.random.default_rng(1)
        rows = [dimension | {"source": "a.safetensors"} for dimension in DIMENSIONS]
        storage.write_json(quality_columns.about_path(self.workdir), {"dimensions": rows})
        values = (random.random((len(self.ids), 2)) * [1, 4]).astype(np.float32)
        values[::10, 1] = np.nan
        self.quality = []
        for fluency, depth in values.astype(float).tolist():
            if math.isnan(depth):
                self.quality.append(fluency if self.missing == "skip" else fluency / 4)
            else:
                self.quality.append((fluency + 3 * depth / 4) / 4)
        self.quality = np.array(self.quality, np.float32).tolist()
        self.values = values
        for number, part in enumerate(PARTS):
            mine = slice(DOCUMENTS * number, DOCUMENTS * (number + 1))
            columns = {f"quality_{d['name']}": values[mine, i] for i, d in enumerate(DIMENSIONS)}
            columns["quality"] = np.array(self.quality[mine], np.float32)
            path = quality_columns.columns_path(self.workdir, part)
            partfiles.write_table(path, pa.table(columns))

    def _measure(self) -> None:
        clusters = {
            "cluster": np.arange(4, dtype=np.int32),
            "n_documents": np.arange(4) + 20,
            "compactness": np.array([0.5, 0.61, 0.73, 0.8]),
            "separation": np.array([1.1, 0.9, 1.3, 1.0]),
        }
        clusters["diversity"] = clusters["compactness"] * clusters["separation"]
        path = diversity_columns.diversity_path(self.workdir, "clusters.parquet")
        partfiles.write_table(path, pa.table(clusters))
        kind = "distance" if self.each else "cluster"
        note = diversity_columns.diversity_path(self.workdir, "note.json")
        storage.write_json(note, {"params": {"compactness": kind}})
        n = len(self.ids)
        cluster = np.where(np.array(self.domain) >= 0, np.arange(n) * 7 % 4, -1).astype(np.int32)
        distance = np.random.default_rng(2).random(n).astype(np.float32)
        for number, part in enumerate(PARTS):
            mine = slice(DOCUMENTS * number, DOCUMENTS * (number + 1))
            table = pa.table({"cluster": cluster[mine], "distance": distance[mine]})
            partfiles.write_table(diversity_columns.measured_path(self.workdir, part), table)
        own = distance if self.each else clusters["compactness"][cluster]
        self.diversity = (own * clusters["separation"][cluster] * (cluster >= 0)).tolist()

    def _weigh(self) -> None:
        """SampleMix, section 2.4, in each group."""
        n, settings = len(self.ids), self.settings
        self.weight, self.expected, self.copies = [0.0] * n, [0.0] * n, [0] * n
        by_domain = settings["within"] == "domain"
        groups = []
        for group in range(len(NAMES)) if by_domain else [-1]:
            mine = [i for i in range(n) if self.domain[i] == group or group < 0 <= self.domain[i]]
            groups.append(self._weigh_group(group, mine))
        storage.write_json(
            self.workdir.path("_stages", "score", "pool.json"),
            settings | {"groups": groups, "notes": []},
        )
        names = [dimension["name"] for dimension in DIMENSIONS]
        for number, part in enumerate(PARTS):
            mine = slice(DOCUMENTS * number, DOCUMENTS * (number + 1))
            columns = [*self.values[mine].T, self.quality[mine], self.diversity[mine]]
            columns += [self.weight[mine], self.copies[mine]]
            schema = scores_schema(names)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            table = pa.Table.from_arrays(arrays, schema=schema)
            partfiles.write_table(self.workdir.part("score", part), table)
        self.end("score")

    def _weigh_group(self, group: int, mine: list[int]) -> dict[str, Any]:
        settings, ranges, units = self.settings, {}, {}
        for name, values in (("quality", self.quality), ("diversity", self.diversity)):
            chosen = [values[i] for i in mine]
            least, most = min(chosen), max(chosen)
            ranges[name] = [least, most]
            units[name] = [(value - least) / (most - least) for value in chosen]
            if settings["normalise"] == "rank":
                units[name] = [
                    sum((other < value) + (other == value) / 2 for other in chosen) / len(chosen)
                    for value in chosen
                ]
        p = [
            settings["alpha"] * d + (1 - settings["alpha"]) * q
            for q, d in zip(units["quality"], units["diversity"], strict=True)
        ]
        powers = [math.exp((value - 1) / settings["tau"]) for value in p]
        mean, scale = sum(powers) / len(powers), 1.9
        for i, power in zip(mine, powers, strict=True):
            self.weight[i] = float(np.float32(power / mean))
            self.expected[i], self.copies[i] = self._copies(i, scale)
        about = {"group": group, "mean": mean, "scale": scale, "whole": 1}
        return about | ranges

    def hash(self, i: int) -> float:
        key = hashing.uniform_keys(pa.array([self.ids[i]]), SEED, "draw")
        return float(hashing.unit_interval(key)[0])

    def _copies(self, i: int, scale: float) -> tuple[float, int]:
        scaled, settings, v = scale * self.weight[i], self.settings, self.hash(i)
        if settings["method"] == "gumbel":
            chance = 1 - math.exp(-scaled)
            return 1 + chance, 1 + (v < chance)
        if settings["method"] == "soft_cap":
            scaled = math.log(1 + settings["penalty"] * scaled) / settings["penalty"]
        scaled = min(scaled, settings["max_epochs"] or math.inf)
        return scaled, math.floor(scaled) + (v >= 1 - (scaled - math.floor(scaled)))

    def end(self, stage: str, **details: Any) -> None:
        parts = [Part(name, DOCUMENTS, 0, "xxh3:0") for name in PARTS]
        success = Success("f", parts, 1, 1, 1, {}, 1.0, details)
        self.workdir.write_success(stage, success)

    def plan(
        self,
        thresholds: list[float],
        drawn: list[int],
        strategy: str = "samplemix",
        method: str | None = None,
    ) -> None:
        """A plan that draws so many copies of each document, in one phase."""
        method = method or self.settings["method"]
        cells = [
            {"cell": i, "path": {"domain": i}, "name": name, "share": 0.25, "target_tokens": 90}
            | {"tokens": 91, "epochs": 1.5, "thresholds": [{"key": thresholds[i], "tie": 0}]}
            | {"phases": [{"phase": "main", "target_tokens": 90, "tokens": 91}]}
            for i, name in enumerate(NAMES)
        ]
        most = 3 if method == "alike" else 1 << 30
        plan = {"strategy": strategy, "by": ["domain"], "seed": SEED, "tokens": 1, "cells": cells}
        plan |= {"draw": {"method": method, "max_copies": most}}
        plan |= {"ranges": [{"range": 0, "split": "train", "phase": "main", "tokens": 1}]}
        storage.write_json(self.workdir.path("plan.json"), plan)
        for number, part in enumerate(PARTS):
            mine = drawn[DOCUMENTS * number : DOCUMENTS * (number + 1)]
            chosen = np.repeat(np.arange(DOCUMENTS, dtype=np.int32), mine)
            table = pa.record_batch({"row": chosen, "range": np.zeros(len(chosen), np.uint8)})
            partfiles.write_batch(select.selection_path(self.workdir, part), table)
        self.end("plan")
        self.end("materialize", corpus="runs/corpus")
