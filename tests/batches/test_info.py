"""``BatchInfo``: targets, replaced rows, joining, and the way through a DataLoader."""

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hardpairs.batches.info import HARD_PAIR, PER_ROW, RANDOM, SPARE, TARGET, BatchInfo


def planned(roles=(TARGET, HARD_PAIR, HARD_PAIR, TARGET, HARD_PAIR, RANDOM)):
    rows = np.array([10, 11, 12, 20, 21, 22])
    return BatchInfo.planned(rows, np.array(roles, np.uint8), spares=np.array([90, 91]))


def full(first=0):
    rows = torch.arange(first, first + 3)
    ids = torch.stack([rows, rows % 2], dim=1)
    features = (torch.rand(3, 4), torch.rand(3, 5))
    return BatchInfo(
        rows=rows,
        roles=torch.zeros(3, dtype=torch.uint8),
        targets=rows,
        group_ids=ids,
        similarity_features=features,
        duplicate_features=features,
        epochs_done=first / 10,
    )


def test_a_hard_pair_belongs_to_the_target_before_it():
    assert planned().targets.tolist() == [10, 10, 10, 20, 20, 22]


def test_hard_pairs_of_a_replaced_target_are_random_and_others_stay():
    unreadable = [(11, "broken"), (20, "broken"), (90, "broken")]
    roles = (TARGET, HARD_PAIR, HARD_PAIR, TARGET, HARD_PAIR, HARD_PAIR)
    rows = np.array([10, 91, 12, 92, 21, 22])
    info = planned(roles).replaced(rows, unreadable, group_ids=rows[:, None])
    assert info.roles.tolist() == [TARGET, SPARE, HARD_PAIR, SPARE, RANDOM, RANDOM]
    assert info.targets.tolist() == [10, 91, 10, 92, 21, 22]
    assert info.roles.dtype == np.uint8 and info.unreadable == tuple(unreadable)


def test_nothing_changes_where_every_row_is_readable():
    plan = planned()
    info = plan.replaced(plan.rows, [], group_ids=plan.rows[:, None])
    for name in ("rows", "roles", "targets"):
        assert np.array_equal(getattr(info, name), getattr(plan, name))


def test_joined_infos_hold_all_rows_and_the_last_epoch():
    first, second = full(), full(3)
    both = BatchInfo.joined([first, second])
    assert len(both) == 6 and both.epochs_done == second.epochs_done
    assert both.rows.tolist() == [0, 1, 2, 3, 4, 5]
    for side in (0, 1):
        parts = [info.similarity_features[side] for info in (first, second)]
        assert torch.equal(both.similarity_features[side], torch.cat(parts))
    assert BatchInfo.joined([first]) is first


def test_only_and_index_keep_what_is_asked_for():
    some = full().only("group_ids", "duplicate_features")[1:]
    assert len(some) == 2 and some.rows is None and some.similarity_features is None
    assert some.group_ids.tolist() == [[1, 1], [2, 0]]
    assert [len(part) for part in some.duplicate_features] == [2, 2]
    assert len(BatchInfo()) == 0


def test_same_group_is_what_a_loop_over_pairs_finds():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 6, (8, 2), generator=generator)
    image, text = torch.nn.functional.normalize(torch.randn(2, 8, 3, generator=generator), dim=2)
    info = BatchInfo(group_ids=ids, duplicate_features=(image, text))
    found = info[2:5].same_group(info, duplicate_threshold=0.5)
    for i in range(3):
        for j in range(8):
            alike = bool((ids[2 + i] == ids[j]).any())
            alike |= bool(image[2 + i] @ image[j] > 0.5) or bool(text[2 + i] @ text[j] > 0.5)
            assert bool(found[i, j]) == alike


class Infos(Dataset):
    def __len__(self):
        return 2

    def __getitems__(self, numbers):
        return full(3 * numbers[0]).only("rows", "similarity_features")


def identity(batch):
    return batch


def test_it_goes_through_workers():
    loader = DataLoader(Infos(), batch_size=1, num_workers=1, collate_fn=identity)
    assert [info.rows.tolist() for info in loader] == [[0, 1, 2], [3, 4, 5]]


def test_devices_and_tensors_apply_to_every_array():
    info = planned().as_tensors().to("cpu")
    for name in PER_ROW[:3]:
        assert isinstance(getattr(info, name), torch.Tensor)
    called = []

    class Pinned:
        def pin_memory(self):
            called.append(self)
            return self

    BatchInfo(rows=Pinned(), similarity_features=(Pinned(), Pinned())).pin_memory()
    assert len(called) == 3
