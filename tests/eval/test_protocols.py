"""Every format as its data set writes it, and what is said when a file is another's."""

from dataclasses import replace
from pathlib import Path

import pytest

from dfeval.errors import EvalError, ProtocolError
from dfeval.protocols import ProtocolColumns, load_protocol

FILES = {
    "asvspoof2019-la": "LA_0039 LA_E_2834763 - A11 spoof\nLA_0014 LA_E_8877452 - - bonafide\n",
    "asvspoof2021-la": (
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0020 LA_E_1000147 none - - bonafide notrim eval\n"
        "LA_0021 LA_E_1000148 none - - bonafide notrim progress\n"
    ),
    "asvspoof2021-df": (
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval "
        "neural_vocoder_nonautoregressive Task1 team20 FF E\n"
        "LA_0048 DF_E_2000058 mp3m4a asvspoof - bonafide notrim eval bonafide - - - -\n"
    ),
    "asvspoof5": ("E_0000 E_0000000001 F C05 2 x AC1 A18 spoof -\nE_0001 E_0000000002 M - - - - bonafide bonafide -\n"),
    "in-the-wild": "file,speaker,label\n0.wav,Alec Guinness,spoof\n4.wav,Christopher Hitchens,bona-fide\n",
    "csv": "utt_id,label,system\na,bonafide,\nb,spoof,fish\n",
}


def write(tmp_path, text, name="protocol.txt"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", FILES)
def test_ids_and_labels(name, tmp_path):
    protocol = load_protocol(write(tmp_path, FILES[name]), name, "all" if "2021" in name else None)
    lines = FILES[name].splitlines()
    table = protocol.table
    assert sorted(table["label"].value_counts().to_dict().values()) in ([1, 1], [1, 2])
    for utt_id, label in zip(table["utt_id"], table["label"], strict=True):
        (line,) = [line for line in lines if utt_id in line.replace(",", " ").split()]
        assert (label == "bonafide") == ("bonafide" in line.replace("bona-fide", "bonafide"))


def test_columns_carry_their_conditions(tmp_path):
    table = load_protocol(write(tmp_path, FILES["asvspoof2021-df"]), "asvspoof2021-df").table.set_index("utt_id")
    row = table.loc["DF_E_2000013"]
    assert (row["codec"], row["source"], row["vocoder"], row["speaker"], row["language"]) == (
        *("low_m4a", "vcc2020", "neural_vocoder_nonautoregressive"),
        *("TEF2", "E"),
    )
    table = load_protocol(write(tmp_path, FILES["asvspoof5"]), "asvspoof5").table.set_index("utt_id")
    assert table.loc["E_0000000001", ["attack", "codec", "speaker"]].tolist() == ["A18", "C05", "E_0000"]


def test_asvspoof5_with_a_header_is_known_by_it(tmp_path):
    text = "trial_anon cm-label codec attack_anon\nE_1 spoof C01 A17\nE_2 bonafide - bonafide\n"
    table = load_protocol(write(tmp_path, text), "asvspoof5").table
    assert table["utt_id"].tolist() == ["E_1", "E_2"]
    assert table["attack"].tolist() == ["A17", "bonafide"]


def test_brspeech_is_two_files(tmp_path):
    human = write(tmp_path, "relative_path|subset|df_class\nhuman/1.wav|test|bonafide\n", "bonafide.csv")
    made = write(
        tmp_path,
        "relative_path|subset|df_class|tts\nfish/1.wav|test|spoof|fish\nyourtts/1.wav|dev|spoof|yourtts\n",
        "synthetic.csv",
    )
    protocol = load_protocol((human, made), "brspeech-df")
    assert protocol.table["utt_id"].tolist() == ["human/1.wav", "fish/1.wav", "yourtts/1.wav"]
    assert protocol.groups == ("tts", "subset")
    assert protocol.phase_counts == {"test": 2, "dev": 1}
    assert load_protocol((human, made), "brspeech-df", "test").in_phase.tolist() == [True, True, False]


def test_2021_counts_eval_unless_told_otherwise_and_says_so(tmp_path):
    path = write(tmp_path, FILES["asvspoof2021-la"])
    protocol = load_protocol(path, "asvspoof2021-la")
    assert protocol.in_phase.tolist() == [True, True, False]
    assert protocol.description.endswith("phase eval")
    assert load_protocol(path, "asvspoof2021-la", "progress").in_phase.tolist() == [False, False, True]
    with pytest.raises(ProtocolError, match=r"no trial has the phase 'hidden'; found eval, progress"):
        load_protocol(path, "asvspoof2021-la", "hidden")


def test_a_phase_where_there_are_none_is_an_error(tmp_path):
    with pytest.raises(ProtocolError, match="has no phases"):
        load_protocol(write(tmp_path, FILES["csv"]), "csv", "eval")


def test_repeated_lines_count_once_and_contradictions_are_refused(tmp_path):
    assert load_protocol(write(tmp_path, FILES["csv"] + "b,spoof,fish\n"), "csv").n_duplicate == 1
    with pytest.raises(ProtocolError, match="b is labelled both"):
        load_protocol(write(tmp_path, FILES["csv"] + "b,bonafide,\n"), "csv")


@pytest.mark.parametrize(
    "text",
    [
        "\nutt_id,label\na,bonafide\nb,spoof\n",
        "sep=,\r\nutt_id,label\r\na,bonafide\r\nb,spoof\r\n",
        "label;ID\nbonafide;a\nspoof;b\n",
        "file_name\tLabel\na\tbonafide\nb\tspoof\n",
        '"path" , "label"\n"a" , "bonafide"\n"b" , "spoof"\n',
        "utt_id label\na bonafide\nb spoof\n",
        "id,utt_id,label\n1,a,bonafide\n2,b,spoof\n",
        "utt_id,label,\na,bonafide,\nb,spoof,\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_csv_protocol_as_people_write_it(text, encoding, tmp_path):
    path = tmp_path / "protocol"
    path.write_bytes(text.encode(encoding))
    protocol = load_protocol(path, "csv")
    assert protocol.table["utt_id"].tolist() == ["a", "b"]
    assert protocol.table["label"].tolist() == ["bonafide", "spoof"]
    assert protocol.notes == ()


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (("1", "0"), "labels are read: 0 as spoof, 1 as bonafide; where that is the other way round"),
        (("real", "fake"), "labels are read: fake as spoof, real as bonafide"),
    ],
)
def test_labels_that_could_be_misread_are_stated(labels, note, tmp_path):
    protocol = load_protocol(write(tmp_path, f"utt_id,label\na,{labels[0]}\nb,{labels[1]}\n"), "csv")
    assert protocol.table["label"].tolist() == ["bonafide", "spoof"]
    assert len(protocol.notes) == 1
    assert protocol.notes[0].startswith(note)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("csv", FILES["asvspoof2019-la"], r"expected the columns utt_id, label .* another --protocol-format"),
        ("csv", "utt_id,label\na,2\n", r"label '2' is not one of bonafide"),
        ("csv", "utt_id,label\na,0\nb,spoof\n", r"label '0' is not one of .* not all labels are 1 or 0"),
        ("asvspoof2021-la", FILES["asvspoof2019-la"], r"expected the 8 fields .* found 5 in the first line"),
        ("asvspoof2019-la", FILES["asvspoof2021-la"], r"expected the 5 fields .* found 8"),
        ("in-the-wild", "name,label\na,spoof\n", r"expected the column file"),
        ("csv", "utt_id,label\na,spoof\n\nb,spoof,more\n", r"more than the 2 fields .*; line 4 has 3"),
        ("csv", "", "is empty"),
        ("csv", "utt_id,label\n", r"has a header and no row below it; expected a protocol of CSV"),
        ("asvspoof1999", "", "asvspoof1999.* is unknown"),
    ],
)
def test_what_does_not_fit_is_named(name, text, message, tmp_path):
    with pytest.raises(ProtocolError, match=message):
        load_protocol(write(tmp_path, text), name)


def test_a_device_is_no_protocol():
    with pytest.raises(ProtocolError, match="/dev/zero: expected a file, found a folder, a pipe or a device"):
        load_protocol(Path("/dev/zero"), "csv")


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    path = tmp_path / "sparse.csv"
    with path.open("wb") as file:
        file.truncate(5 << 30)  # a hole: it takes no room
    with pytest.raises(ProtocolError, match=r"expected at most 4 GiB, found 5\.0"):
        load_protocol(path, "csv")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ProtocolError, match=r"nowhere\.csv"):
        load_protocol(tmp_path / "nowhere.csv", "csv")


def test_columns_and_labels_may_have_any_name(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("clip,truth,label\na,1,x\nb,0,y\nc,1,x\n")
    named = ProtocolColumns(ids="clip", label="truth")
    assert load_protocol(path, "csv", columns=named).table["label"].tolist() == ["bonafide", "spoof", "bonafide"]
    turned = load_protocol(path, "csv", columns=replace(named, bonafide="0"))
    assert turned.table["label"].tolist() == ["spoof", "bonafide", "spoof"]
    assert turned.notes == ("labels are read: 0 as bonafide, 1 as spoof, as asked",)
    assert turned.id_columns == ("clip",)
    with pytest.raises(ProtocolError, match=r"no label is 'real'; found 0, 1"):
        load_protocol(path, "csv", columns=replace(named, bonafide="real"))
    with pytest.raises(ProtocolError, match=r"expected the column key .*--label-column"):
        load_protocol(path, "csv", columns=ProtocolColumns(ids="clip", label="key"))


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["codec=C05"], ["a", "c"]),
        (["codec!=C05,C06"], ["d"]),
        (["codec=C05,C06", "seconds>=2"], ["b", "c"]),
        (["seconds<2"], ["a"]),
    ],
)
def test_conditions_choose_trials(where, ids, tmp_path):
    path = tmp_path / "protocol.csv"
    path.write_text("utt_id,label,codec,seconds\na,bonafide,C05,1\nb,spoof,C06,2\nc,spoof,C05,2.5\nd,bonafide,-,\n")
    protocol = load_protocol(path, "csv", where=where)
    assert protocol.table["utt_id"][protocol.in_phase].tolist() == ids
    assert protocol.description.endswith(", ".join(f"where {condition}" for condition in where))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("codec", "expected column=value"),
        ("nope=1", "no column 'nope'; it has utt_id, label"),
        ("label>x", "expected a number after >, found 'x'"),
        ("label=neither", "no trial of the phase 'all' is label=neither"),
    ],
)
def test_conditions_that_can_not_be_met_are_named(where, message, tmp_path):
    path = tmp_path / "protocol.csv"
    path.write_text("utt_id,label\na,bonafide\nb,spoof\n")
    with pytest.raises(EvalError, match=message):
        load_protocol(path, "csv", where=[where])
