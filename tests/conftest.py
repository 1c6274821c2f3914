"""What holds for all tests: one module for each file, and which tests share a worker."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling


class SharedOnce(MetaPathFinder, Loader):
    """Makes ``bundles.<name>.scripts.shared.x`` the module ``shared.x``.

    In a test process the code of several bundles meets. Through the link of each it would be imported again under
    another name, and a CaseError of one would not be a CaseError of the other.
    """

    LINK = re.compile(r"bundles\.\w+\.scripts\.(shared(?:\.|$).*)")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if self.LINK.match(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        found = self.LINK.match(spec.name)
        assert found is not None
        module = importlib.import_module(found[1])
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own  # the import machinery has put the spec of the link in its place


sys.meta_path.insert(0, SharedOnce())


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
