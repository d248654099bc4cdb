"""Names of files and numbers of records."""

from hardpairs.evaluating.results import file_label, numbers


def test_names_of_files_and_numbers():
    assert (
        file_label("../../etc/passwd") == "etc_passwd"
        and file_label("///") == "model"
        and file_label("Réseau 2") == "Réseau_2"
    )
    assert dict(numbers({"a": {"b": {"c": 1}}, "d": True, "e": "text", "f": 0.5})) == {
        "a.b.c": 1,
        "f": 0.5,
    }
