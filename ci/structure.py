"""Counts what keeps the tree in one piece: `python -m ci.structure` prints the counts and fails where one is too large.

Evaluations that write inference again, code in `shared/` that fewer than two bundles use, affines applied by hand, two
classes of one name, two functions of one name and body.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .closure import ROOT, closure

MATRIX, PART = r"([A-Za-z_][\w.]*)", r"\[(?:\.\.\., )?:3, :3\]"
INLINE_AFFINE = re.compile(rf"{MATRIX}{PART} @ .+ \+ \1\[|@ {MATRIX}{PART}\.m?T \+ \2\[")
FRAMES = Path("shared/geometry/frames.py")
LIMITS = {"evaluate_lines_on_average": 30, "single_user_lines": 0, "inline_affines": 0}


@dataclass
class Structure:
    """What was found.

    Attributes:
        evaluate_lines: of each bundle's evaluate.json.
        repeated_lines: how many of them stand in its inference.json as well.
        single_user: module of `shared/` outside of the networks to its lines and its users, where these are fewer than
            two.
        inline_affines: places, ``path:line``.
        classes: name to the modules that define a class of it, where there are several.
        functions: name to the modules that define the same function, where there are several.
    """

    evaluate_lines: dict[str, int] = field(default_factory=dict)
    repeated_lines: dict[str, int] = field(default_factory=dict)
    single_user: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    inline_affines: list[str] = field(default_factory=list)
    classes: dict[str, list[str]] = field(default_factory=dict)
    functions: dict[str, list[str]] = field(default_factory=dict)

    def counts(self) -> dict[str, float]:
        """One number for each kind."""
        return {
            "evaluate_lines_on_average": sum(self.evaluate_lines.values()) / max(1, len(self.evaluate_lines)),
            "repeated_evaluate_lines": sum(self.repeated_lines.values()),
            "single_user_lines": sum(lines for lines, _ in self.single_user.values()),
            "inline_affines": len(self.inline_affines),
            "classes_of_one_name": len(self.classes),
            "equal_functions": len(self.functions),
        }


def bundles(root: Path = ROOT) -> list[Path]:
    """Folders of all bundles."""
    return sorted(path.parent.parent for path in root.glob("bundles/*/configs/metadata.json"))


def own_modules(root: Path = ROOT) -> Iterator[Path]:
    """Every Python file of `shared/` and of the bundles' own scripts, each once, relative to the root."""
    for folder in (root / "shared", *(bundle / "scripts" for bundle in bundles(root))):
        for path in sorted(folder.rglob("*.py")):
            if folder.name == "shared" or "shared" not in path.relative_to(folder).parts:
                yield path.relative_to(root)


def meaningful_lines(path: Path) -> list[str]:
    """Lines of a config that say something, without blanks and commas at their ends."""
    lines = (line.strip().rstrip(",") for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if re.search(r"\w", line)]


def users_of_shared(root: Path = ROOT) -> dict[Path, list[str]]:
    """Module of `shared/`, relative to it, to the names of the bundles that use it."""
    users: dict[Path, list[str]] = {path.relative_to(root / "shared"): [] for path in (root / "shared").rglob("*.py")}
    for bundle in bundles(root):
        for path in closure(bundle):
            if path.parts[0] == "shared" and path.suffix == ".py":
                users[path.relative_to("shared")].append(bundle.name)
    return users


def body_of(node: ast.FunctionDef) -> str:
    """A function without its docstring, so that equal ones have equal texts."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return ast.dump(node.args) + "".join(ast.dump(statement) for statement in body)


def examine(root: Path = ROOT) -> Structure:
    """Everything that is counted."""
    result = Structure()
    for bundle in bundles(root):
        evaluate, inference = (bundle / "configs" / f"{name}.json" for name in ("evaluate", "inference"))
        result.evaluate_lines[bundle.name] = len(evaluate.read_text(encoding="utf-8").splitlines())
        known = set(meaningful_lines(inference))
        result.repeated_lines[bundle.name] = sum(line in known for line in meaningful_lines(evaluate))
    for path, users in sorted(users_of_shared(root).items()):
        lines = len((root / "shared" / path).read_text(encoding="utf-8").splitlines())
        if len(users) < 2 and path.parts[0] != "networks" and path.name != "__init__.py":
            result.single_user[str(path)] = (lines, users)
    classes: dict[str, list[str]] = defaultdict(list)
    functions: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in own_modules(root):
        text = (root / path).read_text(encoding="utf-8")
        if path != FRAMES:
            found = (n for n, line in enumerate(text.splitlines(), start=1) if INLINE_AFFINE.search(line))
            result.inline_affines += [f"{path}:{number}" for number in found]
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(str(path))
            elif isinstance(node, ast.FunctionDef) and len(node.body) > 1:
                functions[node.name, body_of(node)].append(str(path))
    result.classes = {name: paths for name, paths in sorted(classes.items()) if len(paths) > 1}
    result.functions = {name: paths for (name, _), paths in sorted(functions.items()) if len(paths) > 1}
    return result


def main() -> int:
    found = examine()
    print(json.dumps(found.__dict__, indent=1))
    counts = found.counts()
    for name, count in counts.items():
        limit = LIMITS.get(name)
        print(f"{name}: {count:g}" + ("" if limit is None else f" (at most {limit})"))
    return int(any(counts[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
