"""From what the user types to clips."""

import pytest

from dfclient.clips import Clip, clips_from
from dfclient.errors import InputError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder of empty files that look like audio; the working directory is its parent."""
    for name in ("in/b.wav", "in/a.FLAC", "in/deep/er/c.mp3", "in/deep/notes.txt", "in/deep/x.m4a", "other/a.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*arguments: str) -> list[str]:
    return [clip.path for clip in clips_from(arguments)]


def test_folders_are_searched_recursively_in_order(tree):
    assert paths("in") == ["in/a.FLAC", "in/b.wav", "in/deep/er/c.mp3", "in/deep/x.m4a"]


def test_each_path_once_and_a_missing_file_stays_a_clip(tree):
    assert paths("in/b.wav", "./in/b.wav", "in", "gone.wav")[:2] == ["in/b.wav", "in/a.FLAC"]
    assert paths("gone.wav") == ["gone.wav"]


def test_utt_id_is_the_stem_or_the_path_where_stems_clash(tree):
    assert clips_from(["in/a.FLAC", "in/b.wav", "other/a.wav"]) == [
        Clip("in/a.FLAC", "in/a.FLAC"),
        Clip("in/b.wav", "b"),
        Clip("other/a.wav", "other/a.wav"),
    ]


def test_list_beside_itself_or_from_the_working_directory(tree):
    (tree / "in" / "list.txt").write_text("# mine\nb.wav\n\nother/a.wav\r\n/abs/x.wav\nnowhere.wav\n")
    assert paths("@in/list.txt") == ["in/b.wav", "other/a.wav", "/abs/x.wav", "in/nowhere.wav"]


def test_manifest_names_win(tree):
    (tree / "in" / "m.csv").write_text('utt_id,label,path\nfirst,spoof,b.wav\n,bonafide,"deep/er/c.mp3"\n')
    expected = [Clip("in/b.wav", "first"), Clip("in/deep/er/c.mp3", "c")]
    assert clips_from(["in/m.csv"]) == clips_from(["@in/m.csv"]) == expected


def test_manifest_with_byte_order_mark(tree):
    (tree / "m.csv").write_bytes(b"\xef\xbb\xbfpath\nin/b.wav\n")
    assert paths("m.csv") == ["in/b.wav"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", "file,label\na.wav,spoof\n", "column 'path'.*found: file, label"),
        ("m.csv", "", "an empty file"),
        ("m.csv", "path\n", "no rows"),
        ("m.csv", "utt_id,path\nx,\n", "row 2: the column 'path' is empty"),
        ("m.csv", "utt_id,path\nx,a.wav\ny,a.wav\n", "listed twice"),
        ("m.csv", "utt_id,path\nx,a.wav\nx,b.wav\n", "names 2 clips"),
        ("@l.txt", "\n# nothing\n", "found none"),
    ],
)
def test_what_is_wrong_is_named(tree, name, content, words):
    (tree / name.removeprefix("@")).write_text(content)
    with pytest.raises(InputError, match=words):
        clips_from([name])


def test_missing_lists_and_empty_folders(tree):
    (tree / "void").mkdir()
    for argument, words in (("@gone.txt", "cannot read"), ("gone.csv", "cannot read"), ("void", "no audio files")):
        with pytest.raises(InputError, match=words):
            clips_from([argument])
