"""Which tests share a worker: those of one bundle, and elsewhere those of one file, because they share fixtures."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        item.add_marker(pytest.mark.xdist_group(str(parameters.get("bundle", item.path))))
