"""JSON results are whole, plain and readable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.io.json_files import write_json


def test_round_trip_in_a_new_folder(tmp_path: Path) -> None:
    document = {"case": "Größe", "values": [1.5, None], "mirrored": False}
    write_json(tmp_path / "new" / "a.json", document)
    text = (tmp_path / "new" / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == document and "Größe" in text and text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_lacks_is_refused_and_the_old_file_kept(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "a.json", {"value": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", {"value": value})
    assert json.loads((tmp_path / "a.json").read_text()) == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
