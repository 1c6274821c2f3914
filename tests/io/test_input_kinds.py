"""Nothing that users bring as a CT is lost or wrong without a word."""

from __future__ import annotations

from tests.io.input_kinds import KINDS, TABLE, checked_bundles, table


def test_the_table_of_inputs_is_what_happens() -> None:
    found = table()
    assert "silent" not in found.split("|---|", 1)[1]
    assert len(checked_bundles()) >= 4 and found.count("\n") > len(KINDS)
    assert found == TABLE.read_text(encoding="utf-8"), "write it anew: python -m tests.io.input_kinds"
