"""A `.pt2` that is a strange zip is one line, for the engine and for inspect."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from softonce.cli.app import main

NAME = "model/extra/softonce"
EDITS = {
    "another version": (b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x75\x03\x75"),
    "an encrypted member": (b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
    "another method": (
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00",
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63",
    ),
    "a name that is not UTF-8": (b"extra/\xc3\xa9", b"extra/\xff\xff"),
}


@pytest.mark.parametrize("verb", ["predict", "inspect"])
@pytest.mark.parametrize("edit", EDITS)
def test_a_strange_zip_is_one_line(
    edit: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.pt2"
    with zipfile.ZipFile(file, "w") as archive:
        for name in (NAME, "model/extra/é", "model/models/model.json"):
            archive.writestr(name, "{}")
    old, new = EDITS[edit]
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new))
    command = [verb, str(file)] + (["a.jpg", "--trust"] if verb == "predict" else [])
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
