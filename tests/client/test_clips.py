"""From what the user types to clips."""

import os
import threading

import pytest

from dfclient.audio import AUDIO_SUFFIXES
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
        ("m.csv", "wave,label\na.wav,spoof\n", "column 'path'.*found: wave, label"),
        ("m.csv", "", "m.csv: is empty"),
        ("m.csv", "path\n", "no rows"),
        ("m.csv", "utt_id,path\nx,\n", "line 2: the column 'path' is empty"),
        ("m.csv", "utt_id,path\nx,a.wav\ny,a.wav\n", "listed twice"),
        ("m.csv", "utt_id,path\nx,a.wav\nx,b.wav\n", "names 2 clips"),
        ("@l.txt", "\n# nothing\n", "found none"),
    ],
)
def test_what_is_wrong_is_named(tree, name, content, words):
    (tree / name.removeprefix("@")).write_text(content)
    with pytest.raises(InputError, match=words):
        clips_from([name])


@pytest.mark.parametrize("name", ["s3://bucket/a.wav", "@there.txt"])
def test_an_address_is_no_file_that_is_missing(tree, name):
    (tree / "there.txt").write_text("a.wav\ns3://bucket/a.wav\n")
    with pytest.raises(InputError, match=r"^s3://bucket/a.wav: expected files of this machine.*score_frame"):
        clips_from([name])


def test_missing_lists_and_empty_folders(tree):
    (tree / "void").mkdir()
    for argument, words in (("@gone.txt", "cannot read"), ("gone.csv", "cannot read"), ("void", "no audio files")):
        with pytest.raises(InputError, match=words):
            clips_from([argument])


FORMS = {  # the same manifest, as people write it
    "comma": b"utt_id,path\na,b.wav\n",
    "mark": b"\xef\xbb\xbfutt_id,path\na,b.wav\n",
    "lines end in CR LF": b"utt_id,path\r\na,b.wav\r\n",
    "semicolon": b"path;utt_id\nb.wav;a\n",
    "tab": b"path\tutt_id\nb.wav\ta\n",
    "spaces": b"path, utt_id\nb.wav, a\n",
    "quotes": b'"utt_id", "path"\n"a", "b.wav"\n',
    "sep": b"sep=;\r\nutt_id;path\r\na;b.wav\r\n",
    "blank lines first": b"\n\r\nutt_id,path\na,b.wav\n",
    "UTF-16": "utt_id,path\na,b.wav\n".encode("utf-16"),
    "UTF-16 without a mark": "utt_id,path\na,b.wav\n".encode("utf-16-le"),
    "file and id": b"label,FILE,id\nspoof,b.wav,a\n",
    "filename": b"filename,utt_id\nb.wav,a\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "@m.txt"])
def test_a_manifest_in_any_form(tree, form, name):
    (tree / "in" / name.removeprefix("@")).write_bytes(FORMS[form])
    argument = name.replace("m.", "in/m.")
    assert clips_from([argument]) == [Clip("in/b.wav", "a")]


@pytest.mark.parametrize("column", ["path", "file", "filename", "file_name", "relative_path", "utt_id", "id"])
def test_any_column_that_names_a_recording_is_its_path(tree, column):
    (tree / "m.csv").write_text(f"label,{column}\nspoof,in/b.wav\n")
    assert clips_from(["m.csv"]) == [Clip("in/b.wav", "b")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_in_any_encoding(tree, encoding, end):
    (tree / "l.txt").write_bytes(f"{end}# mine{end}in/b.wav{end}{end}other/a.wav{end}".encode(encoding))
    assert paths("@l.txt") == ["in/b.wav", "other/a.wav"]


def test_kaldis_list_and_paths_with_spaces(tree):
    (tree / "in/my clip.wav").touch()
    (tree / "in/wav.scp").write_text("one b.wav\ntwo deep/er/c.mp3\nthree my clip.wav\nfour gone.wav\n")
    expected = ["in/b.wav", "in/deep/er/c.mp3", "in/my clip.wav", "in/gone.wav"]
    for argument in ("in/wav.scp", "@in/wav.scp"):
        clips = clips_from([argument])
        assert [clip.path for clip in clips] == expected
        assert [clip.utt_id for clip in clips] == ["one", "two", "three", "four"]
    (tree / "in/list.txt").write_text("my clip.wav\none b.wav\nno such clip.wav\n")
    assert clips_from(["@in/list.txt"]) == [
        Clip("in/my clip.wav", "my clip"),
        Clip("in/b.wav", "one"),
        Clip("in/no such clip.wav", "no such clip"),
    ]
    (tree / "in/wav.scp").write_text("one sph2pipe -f wav a.sph |\n")
    with pytest.raises(InputError, match="a command of Kaldi's"):
        clips_from(["in/wav.scp"])


def test_a_manifest_of_one_column_keeps_spaces(tree):
    (tree / "m.csv").write_text("path\nmy clip.wav\n")
    assert clips_from(["m.csv"]) == [Clip("my clip.wav", "my clip")]


def test_names_that_are_not_utf8_are_found_by_their_bytes(tree):
    odd = os.fsdecode(b"in/caf\xe9.wav")
    open(odd, "w").close()  # noqa: PTH123
    (tree / "in/größe.wav").touch()
    said = []
    (tree / "in/m.csv").write_bytes(b"path,utt_id\ncaf\xe9.wav,a\n" + "größe.wav,größe\n".encode())
    assert clips_from(["in/m.csv"], said.append) == [Clip(odd, "a"), Clip("in/größe.wav", "größe")]
    assert said == ["in/m.csv: 1 bytes in it are not UTF-8"]
    # Written on a system of Latin-1 names, read on one of UTF-8.
    (tree / "in/l.txt").write_bytes("größe.wav\n".encode("latin-1"))
    assert paths("@in/l.txt") == ["in/größe.wav"]
    assert clips_from([odd])[0].path == odd


def test_names_that_no_file_can_have_are_clips(tree):
    """Scoring says what is wrong with each; the others are scored."""
    long = "x" * 5000
    (tree / "m.csv").write_text(f'path\nin/b.wav\nnul\0l.wav\n"two\nlines.wav"\n{long}\n')
    assert paths("m.csv") == ["in/b.wav", "nul\0l.wav", "two\nlines.wav", long]
    (tree / "l.txt").write_text(f"in/b.wav\nnul\0l.wav\n{long}\n")
    assert paths("@l.txt") == ["in/b.wav", "nul\0l.wav", long]
    assert paths(long, "nul\0l.wav") == [long, "nul\0l.wav"]


@pytest.mark.parametrize("name", ["@in.bin", "in.csv"])
def test_a_recording_or_nothing_where_a_list_is_wanted(tree, name):
    for content in (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", bytes(1000)):
        (tree / name.removeprefix("@")).write_bytes(content)
        with pytest.raises(InputError, match="expected text, found binary data"):
            clips_from([name])
    with pytest.raises(InputError, match="a folder or a device"):
        clips_from(["@/dev/zero"])


def test_a_list_through_a_named_pipe(tree):
    os.mkfifo(tree / "list")
    threading.Thread(target=lambda: (tree / "list").write_text("in/b.wav\n")).start()
    assert paths("@list") == ["in/b.wav"]


def test_a_folder_named_like_a_manifest_is_a_folder(tree):
    (tree / "in").rename(tree / "x.csv")
    assert paths("x.csv")[0] == "x.csv/a.FLAC"


def test_linked_folders_are_searched_once(tree):
    (tree / "in/deep/loop").symlink_to(tree / "in")
    (tree / "in/elsewhere").symlink_to(tree / "other")
    (tree / "in/again").symlink_to(tree / "other")
    (tree / "other/back").symlink_to(tree / "in/deep")
    assert paths("in") == ["in/a.FLAC", "in/again/a.wav", "in/b.wav", "in/deep/er/c.mp3", "in/deep/x.m4a"]


def test_what_a_folder_holds_besides(tree):
    for name in ("in/._b.wav", "in/__MACOSX/b.wav", "in/more.txt"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    os.mkfifo(tree / "in/pipe.wav")
    (tree / "in/gone.wav").symlink_to(tree / "nowhere.wav")
    (tree / "in/device.wav").symlink_to("/dev/zero")
    said = []
    found = [clip.path for clip in clips_from(["in"], said.append)]
    assert found == ["in/a.FLAC", "in/b.wav", "in/deep/er/c.mp3", "in/deep/x.m4a", "in/gone.wav"]
    assert said == ["in: 2 files of other kinds passed over"]
    said.clear()
    assert len(clips_from(["other"], said.append)) == 1
    assert said == []


def test_every_suffix_of_the_table_of_containers_is_searched_for(tree):
    for suffix in AUDIO_SUFFIXES:
        (tree / f"other/{suffix[1:]}{suffix.upper()}").touch()
    assert len(paths("other")) == len(AUDIO_SUFFIXES) + 1
