"""Tables as people write them: the same rows whatever the encoding, delimiter, quotes and line ends."""

import codecs
import csv
import dataclasses
import io
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract.text_table import TextTableError, layout_of, number_of, rows_of

ROWS = [("utt_id", "score"), ("clip a", "1.5"), ("größe", "-2")]
WORDS = st.text(
    st.characters(
        min_codepoint=33, max_codepoint=0x2FF, exclude_characters='\x7f\x85\xa0,;|"\t', exclude_categories=("Zs", "Cc")
    ),
    min_size=1,
    max_size=8,
)


def read(content: bytes) -> list[tuple[str, ...]]:
    return [line.fields for line in rows_of(content, "here")[1]]


def test_a_lone_nul_is_a_fields_own_fault():
    assert read(b"path,utt_id\nnul\0l.wav,a\n") == [("path", "utt_id"), ("nul\0l.wav", "a")]
    for binary in (b"a,b\0\0c\n", bytes(100), b"a,\0\x05\n"):
        with pytest.raises(TextTableError, match="binary data"):
            read(binary)


def test_a_file_of_one_field_a_row_keeps_spaces_where_its_delimiter_is_known():
    content = b'path\nmy clip.wav\n"two\nlines.wav"\n'
    layout = dataclasses.replace(layout_of(content, "here"), delimiter=",")
    assert [line.fields for line in rows_of(content, "here", layout)[1]] == [
        ("path",),
        ("my clip.wav",),
        ("two\nlines.wav",),
    ]
    assert read(content)[1] == ("my", "clip.wav")


def test_an_encoding_that_does_not_hold_to_the_end_is_an_error():
    with pytest.raises(TextTableError, match=r"here: begins as utf-16, and is not: .*; save it as UTF-8"):
        read("path\na.wav\n".encode("utf-16")[:-1])


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"\xef\xbb\xbfpath\ncaf\xe9.wav\n", b"caf\xe9.wav"), ("größe\n".encode() + b"caf\xe9\n", b"caf\xe9")],
)
def test_a_name_of_another_encoding_comes_back_byte_for_byte(content, name):
    assert os.fsencode(read(content)[-1][0]) == name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\n", "\r\n\n", "sep=,\n"])
def test_the_same_rows_however_they_are_written(encoding, delimiter, end, start):
    start = start.replace(",", delimiter[0])
    text = start + "".join(delimiter.join(row) + end for row in ROWS)
    assert read(text.encode(encoding)) == ROWS


@given(st.lists(st.lists(WORDS, min_size=2, max_size=2).map(tuple), min_size=1), st.sampled_from([",", ";", "\t", "|"]))
def test_quoted_fields_come_back(rows, delimiter):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    assert read(out.getvalue().encode()) == rows


@given(st.lists(st.lists(WORDS, min_size=2, max_size=4).map(tuple), min_size=1))
def test_runs_of_spaces_separate_where_nothing_else_does(rows):
    text = "".join("  \t ".join(row) + " \n" for row in rows)
    rows_with_tabs = read(text.replace("\t", "").encode())
    assert rows_with_tabs == rows


def test_a_delimiter_inside_quotes_is_no_delimiter():
    assert read(b'"a,b";"c"\n') == [("a,b", "c")]


def test_lines_are_counted_as_an_editor_counts_them():
    _, rows = rows_of(b'\nsep=,\nid,score\n"a\nb",1\n\nc,2\n', "here")
    assert [(line.number, line.fields) for line in rows] == [(3, ("id", "score")), (4, ("a\nb", "1")), (7, ("c", "2"))]


def test_a_column_is_found_whatever_its_case():
    layout = layout_of(b"ID,Score,Label\n", "here")
    assert (layout.column(("utt_id", "id")), layout.column(("score",)), layout.column(("nope",))) == (0, 1, None)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("größe,1\n".encode("latin-1"), "read as Latin-1: it is not UTF-8"),
        ("grosse,1\n".encode("utf-16-le"), "read as UTF-16, which it does not state"),
        ("größe,1\nüber,2\n".encode() + b"caf\xe9,3\n", "1 bytes in it are not UTF-8"),
        ("größe,1\n".encode(), None),
        (codecs.BOM_UTF8 + b"a,1\n", None),
    ],
)
def test_a_guessed_encoding_is_said(content, note):
    assert layout_of(content, "here").notes == ((note,) if note else ())


def test_one_name_of_another_encoding_spoils_no_other():
    assert read("größe,1\nüber,2\n".encode() + b"caf\xe9,3\n") == [("größe", "1"), ("über", "2"), ("caf\udce9", "3")]


def test_half_a_character_of_utf_16_is_an_error():
    with pytest.raises(TextTableError, match="here: "):
        read("a,1\n".encode("utf-16")[:-1])


def test_a_known_layout_is_not_found_out_again():
    layout = layout_of(b"a b\n", "here")
    assert [line.fields for line in rows_of(b"a,b 1\n", "here", layout)[1]] == [("a,b", "1")]


def test_a_character_cut_at_the_end_of_the_first_part_is_no_latin_1():
    assert layout_of("id,größe".encode()[:6], "here").encoding == "utf-8"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "here: is empty"),
        (b"\n \n", "is empty"),
        (b"sep=,\n", "is empty"),
        (b"a\x00\x01\x02bcdef", "binary data"),
    ],
)
def test_what_is_no_table_is_an_error(content, words):
    with pytest.raises(TextTableError, match=words):
        rows_of(content, "here")


def test_a_separator_that_is_none_is_a_row_like_others():
    assert read(b"sep=\r\na,b\r\n") == [("sep=",), ("a,b",)]


def test_a_field_may_be_of_any_length():
    assert read(b"id,scores\na," + b"1;" * 200_000 + b"\n")[1] == ("a", "1;" * 200_000)
    assert layout_of(b"id," + b"x" * 200_000, "here").first == ("id", "x" * 200_000)


def test_quotes_that_dont_end_are_named_by_line():
    with pytest.raises(TextTableError, match="here, line 2: not a row of fields"):
        read(b'a,b\n"c,d\ne,f\n')


def test_numbers():
    assert number_of(" 1.5 ") == 1.5
    assert all(math.isnan(number_of(text)) for text in ("", "nan", "NA", "None"))
    with pytest.raises(TextTableError, match="decimal points, not commas"):
        number_of("1,5")
    with pytest.raises(TextTableError, match="expected a number, found 'x'"):
        number_of("x")
