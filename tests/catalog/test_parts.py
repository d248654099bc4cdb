"""No thing and no image is in two parts."""

import numpy as np

from hardpairs.catalog.candidates import Candidate
from hardpairs.catalog.parts import limited, part_of_pairs


def candidates(count, per_thing=3):
    return [
        Candidate(f"set:{i}", f"caption {i}", f"group {i}", f"thing {i // per_thing}", "MIT", b"")
        for i in range(count)
    ]


def test_a_limit_takes_whole_things_and_does_not_depend_on_the_order():
    some = limited(candidates(60), 20)
    assert len(some) == 18
    assert some == limited(reversed(candidates(60)), 20)
    assert all([c.thing for c in some].count(c.thing) == 3 for c in some)
    assert {c.name for c in some} < {c.name for c in limited(candidates(60), None)}


def test_things_and_images_stay_together():
    things = [f"thing {i // 2}" for i in range(200)]
    images = [b"%d" % (i // 2 + i % 2 * (i < 40)) for i in range(200)]  # chains of things
    parts = part_of_pairs(things, images, seed=0)
    for column in (things, images):
        for value in set(column):
            assert (
                len({part for part, other in zip(parts, column, strict=True) if other == value})
                == 1
            )
    assert (np.bincount(parts) > 10).all()
    assert len(set(parts[:40])) == 1  # thing 0 shares an image with thing 1, that with thing 2, ...
    assert (parts != part_of_pairs(things, images, seed=1)).any()
