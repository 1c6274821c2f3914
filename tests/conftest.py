"""Which tests share a worker: those of one bundle, and elsewhere those of one file, because they share fixtures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling


def shared_scope(nodeid: str) -> str:
    """The bundle that a test of the contract is about, the file of any other test.

    `xdist_group` would say the same, but xdist 3.8 writes it to where pytest 9.2 does not read it.
    """
    path, _, rest = nodeid.partition("::")
    parameter = re.search(r"\[(\w+)", rest)
    return parameter[1] if "tests/bundles/" in path and parameter else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    from xdist.scheduler import LoadScopeScheduling

    class SharedFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return shared_scope(nodeid)

    return SharedFixtures(config, log)
