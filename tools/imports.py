"""Which modules of the package import which, read from their text: nothing is executed.

A name is followed to the module that defines it: through the face of a package (its ``__init__``, or the stub beside it
where the face is lazy) and through aliases, so that ``import wavescore_lite as ws`` with ``ws.probes.reach`` leads to
`probes`, and ``from .bases import WaveletBasis`` to `bases.wavelets` alone. Imports inside functions count, those under
``if TYPE_CHECKING`` do not. A module that imports by a computed name (``import_module``) imports those of the modules
beside it that it names in a string.

This is exact to the module, and not finer. Python itself does more: with `bases.wavelets` it also runs
``bases/__init__.py`` and thereby all that stands there. Such a face does nothing but import and define, which
``tests/test_house.py`` holds, so what it runs besides has no part in what the named module computes. A module that
changes another when it is imported would not be seen here; the package has none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tools.syntax import bare, digest, parsed, strings, uses

ROOT = Path(__file__).resolve().parent.parent

# The rooms and modules of the package from bottom to top: each imports from itself and from those before it.
ORDER = (
    "support",
    "data",
    "bases",
    "polynomials",
    "groups",
    "couplings",
    "noise",
    "equations",
    "sums",
    "moments",
    "joint",
    "denoisers",
    "fitting",
    "estimator",
    "scores",
    "joint_score",
    "closed_form",
    "sampling",
    "likelihood",
    "reverse_flow",
    "reverse_steps",
    "similarity",
    "metrics",
    "probes",
    "plots",
    "networks",
    "quality",
    "study",
    "benchmarks",
    "course",
    "coursework",
    "__init__",  # the face of the package
    "cli",
    "__main__",
)


class Found(NamedTuple):
    """Where the pursuit of a name ended, and the faces of packages that it went through."""

    module: str
    faces: tuple[str, ...]


class Code(NamedTuple):
    """What a module does, as a digest of `syntax.bare`, and the modules that it needs for that."""

    digest: str
    needs: frozenset[str]


class Package:
    """The modules of a package, by dotted name.

    Parameters
    ----------
    folder : Path
        Of the package; its name is the package's.

    Attributes
    ----------
    folder : Path
    name : str
    files : dict of str to Path
        The file of each module; that of a package is its ``__init__.py``.

    Examples
    --------
    >>> package = Package()
    >>> package.find("wavescore_lite", ["noise", "standard_normal"]).module
    'wavescore_lite.noise'
    >>> sorted(package.reached(ast.parse("from wavescore_lite.coursework import check")))
    ['wavescore_lite.course.check', 'wavescore_lite.coursework']
    """

    def __init__(self, folder: Path = ROOT / "wavescore_lite") -> None:
        self.folder = folder
        self.name = folder.name
        self.files = {_dotted(path, folder): path for path in sorted(folder.rglob("*.py"))}
        self._codes: dict[str, Code] = {}

    def code(self, module: str) -> Code:
        """What a module does, and what it needs for that; it is read once."""
        if module not in self._codes:
            tree = bare(*self._text(module))
            needs = {target.module for target in self._targets(tree, module)} | self._by_name(tree, module)
            self._codes[module] = Code(digest(tree), frozenset(needs))
        return self._codes[module]

    def is_package(self, module: str) -> bool:
        """Whether other modules may lie in this one."""
        return self.files[module].name == "__init__.py"

    def room(self, module: str) -> str:
        """Which entry of `ORDER` a module belongs to."""
        return module.split(".")[1] if "." in module else "__init__"

    def find(self, start: str, names: Iterable[str]) -> Found:
        """The module that defines ``start.name.name``; a package, where it is all of it that is named."""
        faces: list[str] = []
        left = list(names)
        asked = set()
        while left and self.is_package(start) and (start, left[0]) not in asked:
            name = left.pop(0)
            asked.add((start, name))
            if name in self._faces[start]:
                faces.append(start)
                start, named = self._faces[start][name]
                left[:0] = named
            elif f"{start}.{name}" in self.files:
                start = f"{start}.{name}"
            else:
                break
        return Found(start, tuple(faces))

    def imports(self, module: str) -> set[str]:
        """The modules that a module imports from, and the face of its own room if it goes through that."""
        tree = parsed(*self._text(module))
        found = list(self._targets(tree, module))
        own_faces = {face for target in found for face in target.faces if module.startswith(f"{face}.")}
        return ({target.module for target in found} | own_faces | self._by_name(tree, module)) - {module}

    def reached(self, tree: ast.Module) -> set[str]:
        """The modules that code outside the package needs, itself and through others; not for annotations alone."""
        reached: set[str] = set()
        new = {target.module for target in self._targets(tree, "")}
        while new:
            module = new.pop()
            reached.add(module)
            new |= self.code(module).needs - reached
        return reached

    def _text(self, module: str) -> tuple[str, str]:
        """What a module says, with the stub beside it if its face is lazy, and where."""
        path = self.files[module]
        files = [file for file in (path.with_suffix(".pyi"), path) if file.is_file()]
        return "\n".join(file.read_text(encoding="utf-8") for file in files), str(path)

    def _targets(self, tree: ast.Module, module: str) -> Iterator[Found]:
        """Where the imports of code lead; `module` says where it stands, nothing that it stands outside."""
        bound: dict[str, tuple[str, list[str]]] = {}
        for local, start, names in self._imported(tree, module):
            found = self.find(start, names)
            if local and self.is_package(found.module):
                bound[local] = (start, names)
            else:
                yield found
        used = [(name, attributes) for name, attributes in uses(tree) if name in bound]
        for name, attributes in used:
            start, names = bound[name]
            yield self.find(start, [*names, *attributes])
        for name in bound.keys() - {name for name, _ in used}:
            yield self.find(*bound[name])

    def _imported(self, tree: ast.Module, module: str) -> Iterator[tuple[str, str, list[str]]]:
        """What is imported from the package: the name it is bound to, if any, and what that stands for."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    parts = alias.name.split(".")
                    if parts[0] == self.name and (alias.asname or len(parts) > 1):
                        yield alias.asname or "", *self._module(parts)
                    if parts[0] == self.name and not alias.asname:
                        yield self.name, self.name, []
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node, module)
                for alias in node.names if base[:1] == [self.name] else ():
                    start, names = self._module(base)
                    if alias.name == "*":
                        yield "", start, names
                    else:
                        yield alias.asname or alias.name, start, [*names, alias.name]

    def _base(self, node: ast.ImportFrom, module: str) -> list[str]:
        """The parts of the dotted name after ``from``, without dots in front."""
        named = node.module.split(".") if node.module else []
        if not node.level:
            return named
        here = module.split(".")
        return here[: len(here) - node.level + self.is_package(module)] + named

    def _module(self, parts: Sequence[str]) -> tuple[str, list[str]]:
        """The module of a dotted name, and what of the name leads beyond it."""
        cut = next(cut for cut in range(len(parts), 0, -1) if ".".join(parts[:cut]) in self.files)
        return ".".join(parts[:cut]), list(parts[cut:])

    def _by_name(self, tree: ast.Module, module: str) -> set[str]:
        """The modules beside this one that it names in strings, if it imports by computed names."""
        if not any("import_module" in (name, *attributes) for name, attributes in uses(tree)):
            return set()
        room = module if self.is_package(module) else module.rpartition(".")[0]
        return {f"{room}.{text}" for text in strings(tree)} & self.files.keys()

    @cached_property
    def _faces(self) -> dict[str, dict[str, tuple[str, list[str]]]]:
        """For each package the names that its face imports from elsewhere, with where they come from."""
        faces: dict[str, dict[str, tuple[str, list[str]]]] = {}
        for package in filter(self.is_package, self.files):
            imported = self._imported(parsed(*self._text(package)), package)
            faces[package] = {
                local: (start, names)
                for local, start, names in imported
                if local and (start, len(names)) != (package, 1)
            }
        return faces


def misplaced(package: Package, order: Sequence[str] = ORDER) -> list[str]:
    """All that is wrong with the order of a package: arrows that point up, and rooms that the order does not know."""
    place = {room: number for number, room in enumerate(order)}
    unknown = {package.room(module) for module in package.files} - set(order)
    wrong = [f"{room} has no place in the order" for room in sorted(unknown)]
    for module in package.files:
        for target in sorted(package.imports(module)):
            here, there = package.room(module), package.room(target)
            if not unknown & {here, there} and place[there] > place[here]:
                wrong.append(f"{module} imports from {target}, which stands above it")
    return wrong


def _dotted(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
