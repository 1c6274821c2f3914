"""Commands of the bundle, run as a user runs them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bundles.processes import option_arguments, run_quickly
from tests.han_segmentation.heads import BUNDLE


def execute(configs: Sequence[str], options: Mapping[str, Any]) -> str:
    """What a command that must succeed prints."""
    files = str([f"configs/{name}" for name in configs])
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, *option_arguments(options)]
    done = run_quickly(command, BUNDLE)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
