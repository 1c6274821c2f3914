"""What a bundle uses of `shared/`: everything that its scripts, its configs and the commands in its documents reach."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOTTED = re.compile(r"\bscripts(?:\.\w+)+")


def module_path(scripts: Path, parts: Iterable[str]) -> Path | None:
    """File of the longest beginning of a dotted name that is a module, relative to the folder of scripts.

    Args:
        scripts: folder of the bundle.
        parts: of the name below ``scripts``; what follows the module are names in it.
    """
    found, folder = None, Path()
    for part in parts:
        folder = folder / part
        for candidate in (folder.with_suffix(".py"), folder / "__init__.py"):
            if (scripts / candidate).is_file():
                found = candidate
        if not (scripts / folder).is_dir():
            break
    return found


def imports_of(scripts: Path, module: Path) -> Iterator[Path]:
    """Modules, relative to the folder of scripts, that a module imports, or names in a text such as a ``_target_``."""
    text = (scripts / module).read_text(encoding="utf-8")
    package = module.parent.parts
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package[: len(package) - node.level + 1]
        stem = (*base, *(node.module.split(".") if node.module else ()))
        for name in node.names:
            if (found := module_path(scripts, (*stem, name.name))) is not None:
                yield found
    yield from named_modules(scripts, text)


def named_modules(scripts: Path, text: str) -> Iterator[Path]:
    """Modules that a text names by their dotted path, packages with what runs them as a command."""
    for name in DOTTED.findall(text):
        parts = name.split(".")[1:]
        if (found := module_path(scripts, parts)) is not None:
            yield found
        if (scripts.joinpath(*parts) / "__main__.py").is_file():
            yield Path(*parts) / "__main__.py"


def with_packages(module: Path) -> Iterator[Path]:
    """A module and the ``__init__.py`` of all packages around it."""
    yield module
    for folder in module.parents:
        if folder != Path():
            yield folder / "__init__.py"


def closure(bundle: Path) -> set[Path]:
    """Files of a bundle's scripts that it needs, relative to the folder of scripts: modules and the data beside them.

    Its own scripts count all; of `shared/` what they import, what configs name and what documents give as a command,
    and a data file where a module of its folder names it.
    """
    scripts = bundle / "scripts"
    own = [path for path in scripts.rglob("*.py") if "shared" not in path.relative_to(scripts).parts]
    todo = {path.relative_to(scripts) for path in own}
    for text in [*(bundle / "configs").glob("*.json"), *(bundle / "docs").glob("*.md")]:
        todo |= set(named_modules(scripts, text.read_text(encoding="utf-8")))
    found: set[Path] = set()
    while todo:
        module = todo.pop()
        if module in found or not (scripts / module).is_file():
            continue
        found.add(module)
        todo |= {path for used in imports_of(scripts, module) for path in with_packages(used)} - found
        todo |= set(with_packages(module)) - found
    for module in sorted(found):
        code = (scripts / module).read_text(encoding="utf-8")
        beside = (path for path in (scripts / module.parent).iterdir() if path.is_file() and path.suffix != ".py")
        found |= {path.relative_to(scripts) for path in beside if path.name in code}
    return found
