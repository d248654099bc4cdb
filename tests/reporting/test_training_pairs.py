"""Hard pairs and batches of a run on the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hardpairs.batches import HardPairBatchSampler, RandomBatchSampler
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.evaluating.runs import read_run
from hardpairs.pages.album import Album
from hardpairs.reporting.training_pairs import (
    LOOKALIKE_SCORE,
    LOOKALIKES,
    first_batches,
    lookalikes,
    targets,
)
from tests.reporting.runs import ROWS


class TestTrainingPairs:
    def test_hard_pairs_show_different_things(
        self, hard_pair_table: HardPairTable, samples: Samples
    ) -> None:
        for target in targets(hard_pair_table, Album(samples)):
            groups = [samples.group(pair.image.row) for pair in target.hard_pairs]
            assert len(set(groups)) == len(groups) == 3
            assert [pair.rank for pair in target.hard_pairs] == [1, 3, 5]

    def test_lookalikes_are_different_pairs_of_things(
        self, hard_pair_table: HardPairTable, samples: Samples
    ) -> None:
        found = lookalikes(hard_pair_table, Album(samples))
        assert len(found) == LOOKALIKES and all(
            target.hard_pairs[0].score >= LOOKALIKE_SCORE for target in found
        )
        pairs = {
            frozenset((samples.group(a.image.row), samples.group(a.hard_pairs[0].image.row)))
            for a in found
        }
        assert len(pairs) == len(found)
        assert (
            lookalikes(
                replace(hard_pair_table, scores=np.full_like(hard_pair_table.scores, 0.5)),
                Album(samples),
            )
            == []
        )

    def test_batches_are_the_samplers_own(
        self, four: list[Path], hard_pair_table: HardPairTable, samples: Samples
    ) -> None:
        random, hard = first_batches(read_run(four[2]), hard_pair_table, Album(samples))
        first = HardPairBatchSampler(
            ROWS, hard_pair_table, batch_size=8, hard_topk=6, rank=0, world_size=2
        ).batch(0)
        second = HardPairBatchSampler(
            ROWS, hard_pair_table, batch_size=8, hard_topk=6, rank=1, world_size=2
        ).batch(0)
        assert [picture.row for group in hard.drawn.groups for picture, _ in group] == [
            *first,
            *second,
        ]
        assert [note != "" for group in hard.drawn.groups for _, note in group] == [False, True] * 8
        plain = RandomBatchSampler(ROWS, batch_size=16).batch(0)
        assert [
            picture.row for group in random.drawn.groups for picture, _ in group
        ] == plain.tolist()
        assert hard.own_hard_pairs > random.own_hard_pairs and hard.hard_share == 1
