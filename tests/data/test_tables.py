"""Tables stay text; errors name the columns found and the separator to give."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples


def test_words_that_look_like_missing_values_stay_words(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("filepath\ttitle\na.jpg\tnull\nb.jpg\tNA\nc.jpg\tnan\nd.jpg\t\n")
    samples = open_samples(path)
    assert list(samples.captions) == ["null", "NA", "nan", ""] and samples.rejected == {
        3: "empty_caption"
    }


@pytest.mark.parametrize(
    ("header", "separator", "says"),
    [
        ("filepath,title", "\t", "`separator` ','"),
        ("filepath\ttitle", ",", "`separator` $'\\t'"),
        ("image,text", None, "columns found: 'image', 'text'"),
        ("", None, "columns found: none"),
    ],
)
def test_wrong_columns_name_those_found_and_the_remedy(tmp_path, header, separator, says):
    path = tmp_path / "a.csv"
    path.write_text(header + "\n")
    with pytest.raises(UserError) as error:
        open_samples(path, separator=separator)
    assert error.value.code == 3 and says in str(error.value)


def test_the_flag_of_the_absent_column_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("filepath,title,labels\na.jpg,a thing,1\n")
    with pytest.raises(UserError) as error:
        open_samples(path, group_key="label")
    assert error.value.fix == "name the column: `group_key` (is it 'labels'?)"
    with pytest.raises(UserError) as error:
        open_samples(path, image_key="image", caption_key="text")
    assert error.value.fix == "name the columns: `image_key`, `caption_key`"


def test_an_empty_folder_is_told_what_it_lacks(tmp_path):
    with pytest.raises(UserError, match="neither images nor .tar shards") as error:
        open_samples(tmp_path)
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("text", "code"), [("filepath,title\n", 3), ("filepath,title\na.jpg,x,y\n", 3), (None, 2)]
)
def test_empty_ragged_and_absent_tables(tmp_path, text, code):
    path = tmp_path / "a.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as error:
        open_samples(path)
    assert error.value.code == code


@pytest.mark.parametrize("more", ["", '50.jpg,"fine"\n', '50.jpg,"another that opens\n'])
def test_a_quote_that_does_not_close_is_told(tmp_path, more):
    """In a lenient reader it swallows the rows after it, and nobody is told."""
    path = tmp_path / "t.csv"
    path.write_text(
        "filepath,title\n"
        + "".join(f"{i}.jpg,{chr(34) if i == 5 else ''}picture {i}\n" for i in range(40))
        + more
    )
    with pytest.raises(UserError, match="opened and not closed") as error:
        open_samples(path)
    assert error.value.code == 3 and "line 7" in error.value.text()


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_is_open_at_the_end_is_told(tmp_path, end):
    """As in a table that was cut."""
    (tmp_path / "t.csv").write_text(f'filepath,title\na.jpg,"so" he said\nb.jpg,"cut{end}')
    with pytest.raises(UserError, match="opened and not closed") as error:
        open_samples(tmp_path / "t.csv")
    assert error.value.code == 3 and "line 3" in error.value.text()


def test_captions_of_several_lines_stay_whole(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        'filepath,title\na.jpg,"two\nlines"\nb.jpg,"she said ""no"""\nc.jpg,5" pipe\nd.jpg,"so" he said\n'
    )
    assert list(open_samples(path).captions) == [
        "two\nlines",
        'she said "no"',
        '5" pipe',
        "so he said",
    ]


def test_of_columns_of_one_name_the_first_is_read(tmp_path, caplog):
    """As OpenCLIP does, and with a warning."""
    path = tmp_path / "t.csv"
    path.write_text("filepath,title,title\na.jpg,right,other\n")
    assert list(open_samples(path).captions) == ["right"]
    assert "several columns are called 'title'; the first of them is read" in caplog.text


@pytest.mark.parametrize("separator", ["\t", "\\t", "tab", "$'\\t'"])
def test_a_tab_as_scripts_write_it(tmp_path, separator):
    path = tmp_path / "t.tsv"
    path.write_text("filepath\ttitle\na.jpg\ta, b\n")
    assert list(open_samples(path, separator=separator).captions) == ["a, b"]


def test_a_separator_of_several_characters_is_refused(tmp_path):
    (tmp_path / "t.tsv").write_text("filepath\ttitle\na.jpg\ta\n")
    with pytest.raises(UserError, match="one character") as error:
        open_samples(tmp_path / "t.tsv", separator="\\s+")
    assert error.value.code == 2
