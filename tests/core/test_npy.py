"""A file that is written part by part has the bytes of one that is written at once."""

import io

import numpy as np
import pytest

from hardpairs.core.npy import write_header


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.uint16])
@pytest.mark.parametrize("shape", [(7, 3), (12,), (0, 5)])
def test_the_bytes_are_those_of_numpy(shape, kind):
    array, whole, parts = np.ones(shape, kind), io.BytesIO(), io.BytesIO()
    np.save(whole, array)
    write_header(parts, shape, kind)
    parts.write(array.tobytes())
    assert parts.getvalue() == whole.getvalue()
