"""Lists that are packed, cut and merged."""

import numpy as np

from hardpairs.mining.engine.lists import empty_lists, list_rows, merge, pack, unpack


def test_lists_survive_being_packed():
    own = empty_lists(100, 4, 6)
    own.entries[:] = (0, 3, 6, 1)
    for name in ("column", "high", "low", "reason"):
        getattr(own, name)[:] = np.arange(24).reshape(4, 6)
    packed = pack(own)
    again = unpack(packed, 100, 6)
    assert again.first_row == 100
    for row, count in enumerate(own.entries):
        assert again.column[row, :count].tolist() == own.column[row, :count].tolist()
    part = pack(list_rows(own, 1, 3))
    assert part["entries"].tolist() == [3, 6] and part["column"].tolist() == [
        6,
        7,
        8,
        *range(12, 18),
    ]
    twice = merge(unpack(packed, 100, 6), [packed])  # a row needs more room than there is
    assert twice.entries.tolist() == [0, 6, 12, 2]
    assert twice.column[1, :6].tolist() == [6, 7, 8, 6, 7, 8]
    roomy = unpack(packed, 100, 20)
    in_place = merge(list_rows(roomy, 1, 3), [part])
    assert in_place.first_row == 101 and in_place.entries.tolist() == [6, 12]
    assert roomy.column[1, :6].tolist() == [6, 7, 8, 6, 7, 8]
