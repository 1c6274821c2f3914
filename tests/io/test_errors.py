"""A mistake of the user as one line, however deeply it is wrapped."""

from __future__ import annotations

import pickle

from shared.io.errors import CaseError, describe, find_case_line


def test_the_line_is_found_behind_wrapped_errors():
    error = CaseError("a.png", "is\n bad", "use another")
    try:
        try:
            raise RuntimeError("applying transform") from error
        except RuntimeError as middle:
            raise RuntimeError("Failed to evaluate") from middle
    except RuntimeError as outer:
        assert find_case_line(outer) == "a.png: is bad; use another"
    text = "Caught CaseError in worker\nTraceback\nshared.io.errors.CaseError: a.png: is bad; use another\n"
    worker = RuntimeError(text)
    assert find_case_line(worker) == "a.png: is bad; use another"
    assert find_case_line(ValueError("CaseErrors are nice")) is None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_unknown_error_becomes_one_line():
    try:
        raise RuntimeError("applying transform x") from ValueError("first\nsecond")
    except RuntimeError as error:
        assert describe("a.png", error).startswith("a.png: unexpected ValueError: first second; ")
