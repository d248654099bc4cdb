from hardpairs.catalog.candidates import Candidate, Collection


def test_collections_are_filled_one_by_one():
    first, second = Collection(), Collection()
    first.candidates.append(Candidate("a:b", "b", "b", "b", "MIT", b""))
    first.dropped["a brand"] += 1
    assert not second.candidates and not second.dropped and not second.notices
