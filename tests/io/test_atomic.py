"""Files that are whole or absent, alone and together."""

from __future__ import annotations

import pytest

from shared.io.atomic import all_or_nothing, atomic_path
from shared.io.json_files import write_json


def test_atomic_path_leaves_a_whole_file_or_none(tmp_path):
    target = tmp_path / "new" / "a.nii.gz"
    with atomic_path(target) as path:
        assert path.name.endswith(".nii.gz") and path.parent == target.parent
        path.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_files_written_together_appear_together(tmp_path):
    first, second = tmp_path / "a" / "a.json", tmp_path / "b.json"
    with all_or_nothing():
        write_json(first, 1)
        write_json(second, 2)
        write_json(first, 3)
        assert not first.exists() and not second.exists()
    assert (first.read_text(), second.read_text()) == ("3\n", "2\n")
    with pytest.raises(ValueError), all_or_nothing():
        write_json(first, 4)
        write_json(second, float("nan"))
    assert first.read_text() == "3\n" and sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.json"]
    assert list(first.parent.iterdir()) == [first]
