"""Label Studio's pairs to clusters, by hand."""

import json

from hardpairs.linking.label_studio import cluster_pairs, read_label_studio


def task(first, second, *answers, minimal=False):
    data = {
        "id1": first,
        "caption1": f"text of {first}",
        "id2": second,
        "caption2": f"text of {second}",
    }
    if minimal:
        return {**data, **({"choice": answers[0]} if answers else {})}
    return {
        "data": data,
        "annotations": [
            {"result": [{"type": "choices", "value": {"choices": [answer]}}]} for answer in answers
        ],
    }


def written(folder, tasks, name="pairs.json"):
    (folder / name).write_text(json.dumps(tasks))
    return folder / name


def test_clusters_by_hand(tmp_path):
    """a = b = c is one cluster although a and c were called different; d and e are single, and no cluster has their numbers."""
    tasks = [
        task("a", "b", "Same"),
        task("b", "c", "Same"),
        task("a", "c", "Different"),
        task("d", "e", "Different"),
        task("e", "a"),
    ]
    for minimal in (False, True):
        given = [
            task(t["data"]["id1"], t["data"]["id2"], *_said(t), minimal=minimal) for t in tasks
        ]
        pairs, left_out = read_label_studio(written(tmp_path, given))
        clusters = cluster_pairs(pairs)
        assert left_out == {"no choice": 1}
        assert clusters.labels == {"a": 0, "b": 0, "c": 0, "d": 1, "e": 2}
        assert clusters.conflicts == [("a", "c", ["a", "b", "c"])]


def _said(task):
    return [
        result["value"]["choices"][0]
        for annotation in task["annotations"]
        for result in annotation["result"]
    ]


def test_other_choices_are_counted_and_left_out(tmp_path):
    """A choice beside Same or Different (of its own control) is none of the answer."""
    tasks = [
        task("a", "b", "Same", "Blurred"),
        task("b", "c", "Unsure"),
        task("c", "d", "Unsure"),
        task("d", "e"),
    ]
    pairs, left_out = read_label_studio(written(tmp_path, tasks))
    assert [(pair.first, pair.second, pair.same) for pair in pairs] == [("a", "b", True)]
    assert left_out == {"Unsure": 2, "no choice": 1}


def test_two_people_who_disagree_are_a_conflict(tmp_path):
    pairs, _ = read_label_studio(written(tmp_path, [task("a", "b", "Same", "Different")]))
    assert cluster_pairs(pairs).conflicts == [("a", "b", ["a", "b"])]


def test_text_cut_in_an_emoji(tmp_path):
    task = {"id1": "a.jpg", "id2": "b.jpg", "caption1": "kite \ud83d", "caption2": "y"}
    (tmp_path / "p.json").write_text(json.dumps([{**task, "choice": "Same"}]))
    pairs, _ = read_label_studio(tmp_path / "p.json")
    assert pairs[0].first_caption == "kite \ufffd"
