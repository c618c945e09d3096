"""The rooms of the package stand in the order that CONTRIBUTING tells, and every import goes down."""

import ast
import re
import subprocess
from graphlib import CycleError, TopologicalSorter

import pytest

from tools.imports import ORDER, Package, misplaced
from tools.notebooks import ROOT
from tools.syntax import bare, digest, uses

FACES = [path for path in sorted((ROOT / "wavescore_lite").glob("*/**/__init__.py")) if path.parent.name != "cli"]


def circle(package):
    """The modules of an import circle, if there is one."""
    try:
        TopologicalSorter({module: package.imports(module) for module in package.files}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_import_goes_down():
    assert misplaced(Package()) == []


def test_no_imports_go_in_a_circle():
    assert circle(Package()) == []


def test_the_order_holds_what_there_is_and_nothing_else():
    package = Package()
    assert sorted(ORDER) == sorted({package.room(module) for module in package.files})


def test_contributing_lists_all_rooms_and_modules_in_order():
    package = Package()
    folders = {package.room(module) for module in package.files if package.is_package(module)} - {"__init__"}
    rooms = [f"{room}/" if room in folders else room for room in ORDER]
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| Room or module |")[1].split("\n\n")[0]
    assert [name for row in table.splitlines() for name in re.findall("`([^`]+)`", row.split("|")[1:2][0])] == rooms


def test_the_page_of_the_package_shows_every_module_and_none_that_is_gone():
    """Not there: what users type and readers do not import, and the process that runs a graded notebook."""
    package = Package()
    shown = set(re.findall(r"automodule:: (\S+)", (ROOT / "book" / "api.md").read_text()))
    unshown = {"wavescore_lite.coursework", "wavescore_lite.course.run_notebook", "wavescore_lite.__main__"}
    modules = {m for m in package.files if not package.is_package(m) and package.room(m) != "cli"}
    assert unshown <= modules
    assert modules - unshown - shown == set()
    assert shown - set(package.files) == set()


def test_contributing_says_what_each_folder_is_for():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    folders = {line.split("/")[0] for line in tracked.stdout.splitlines() if "/" in line}
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| Place |")[1].split("\n\n")[0]
    assert folders == {name.split("/")[0] for name in re.findall("`([^`]+/[^`]*)`", table)}


@pytest.mark.parametrize("path", FACES, ids=lambda path: path.parent.name)
def test_the_face_of_a_room_only_imports_and_defines(path):
    for line in bare(path.read_text()).body:
        assert isinstance(line, ast.Import | ast.ImportFrom | ast.Assign | ast.FunctionDef), ast.unparse(line)
        for target in line.targets if isinstance(line, ast.Assign) else ():
            assert isinstance(target, ast.Name | ast.Tuple), ast.unparse(line)


def test_a_module_that_imports_by_a_computed_name_says_which():
    package = Package()
    for module, path in package.files.items():
        text = path.read_text()
        if any(name in ("import_module", "__import__") for use, rest in uses(ast.parse(text)) for name in (use, *rest)):
            beside = {
                other for other in package.imports(module) if other.rpartition(".")[0] == module.rpartition(".")[0]
            }
            assert len(beside) > 1, module


FILES = {
    "__init__.py": "import lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)",
    "__init__.pyi": "from . import top as top\nfrom .room import Thing as Thing\n__version__: str",
    "low.py": "import numpy\ndef number(): return 1",
    "room/__init__.py": "from .one import Thing\nfrom .two import other",
    "room/one.py": "from ..low import number\nclass Thing: pass",
    "room/two.py": "def other():\n    from .one import Thing\n    return Thing()",
    "room/by_name.py": "from importlib import import_module\ndef get(name='two'): return import_module(f'.{name}')",
    "top.py": "from typing import TYPE_CHECKING\nfrom . import low, room as r\n"
    "if TYPE_CHECKING:\n    from .room import two\nelse:\n    two = 2\ndef f(): return r.Thing, low.number",
}


@pytest.fixture
def house(tmp_path):
    """A package of three rooms, and a function that writes a file of it."""

    def write(name, text):
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return Package(tmp_path / "house")

    for name, text in FILES.items():
        write(name, text)
    return write


def short(modules):
    return {module.removeprefix("house.") for module in modules}


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("house", {"top", "room.one"}),
        ("house.low", set()),
        ("house.room", {"room.one", "room.two"}),
        ("house.room.one", {"low"}),
        ("house.room.two", {"room.one"}),
        ("house.room.by_name", {"room.two"}),
        ("house.top", {"low", "room.one"}),
    ],
)
def test_imports_are_followed_to_where_names_are_defined(house, module, imported):
    assert short(house("low.py", FILES["low.py"]).imports(module)) == imported


@pytest.mark.parametrize(
    ("code", "reached"),
    [
        ("import numpy as np; np.house", set()),
        ("import house as h; h.Thing", {"room.one", "low"}),
        ("import house as h; h.top.f()", {"top", "room.one", "low"}),
        ("import house as h; h.room.other", {"room.two", "room.one", "low"}),
        ("import house as h; h.room.two.other.name", {"room.two", "room.one", "low"}),
        ("import house.low", {"low", "house", "top", "room.one"}),
        ("import house.low; house.low.number", {"low"}),
        ("from house import Thing as T", {"room.one", "low"}),
        ("from house import room; room.Thing", {"room.one", "low"}),
        ("from house.room import *", {"room", "room.one", "room.two", "low"}),
        ("from house.room import one", {"room.one", "low"}),
        ("def f():\n    from house.low import number", {"low"}),
        ("import house as h; getattr(h, 'x')", {"house", "top", "room.one", "low"}),
        ("import house as h; h.__version__", {"house", "top", "room.one", "low"}),
    ],
)
def test_code_reaches_what_it_names_and_what_that_needs(house, code, reached):
    assert short(house("low.py", FILES["low.py"]).reached(ast.parse(code))) == reached


def test_an_import_for_an_annotation_alone_is_no_need_but_has_its_place(house):
    package = house("low.py", "from .top import f\ndef number(x: f) -> f: return 1")
    assert short(package.imports("house.low")) == {"top"}
    assert short(package.reached(ast.parse("import house.low; house.low"))) == {"low"}


def test_an_arrow_that_points_up_and_a_room_without_a_place_are_found(house):
    order = ("low", "room", "top", "__init__")
    assert misplaced(house("low.py", "def number(): return 1"), order) == []
    package = house("low.py", "def number():\n    from .room.two import other\n    return other()")
    assert misplaced(package, order) == ["house.low imports from house.room.two, which stands above it"]
    assert misplaced(package, [room for room in order if room != "top"]) == [
        "top has no place in the order",
        "house.low imports from house.room.two, which stands above it",
    ]
    assert "house.low imports from house, which stands above it" in misplaced(
        house("low.py", "from house import Thing"), order
    )


@pytest.mark.parametrize("text", ["from .two import other", "from . import other", "def f():\n    from . import two"])
def test_a_circle_is_found(house, text):
    assert circle(house("room/one.py", "")) == []
    assert circle(house("room/one.py", text)) != []


def test_faces_that_name_each_other_are_a_circle_and_not_endless(house):
    house("loft/__init__.py", "from ..room import Thing")
    assert circle(house("room/__init__.py", "from ..loft import Thing"))


SAID = '''"""A module."""
from __future__ import annotations
from collections.abc import Iterator
@decorated
class A:
    """A class."""
    x: int = 1  # one
    def f(self, n: int, *rest: float) -> Iterator[int]:
        """A method."""
        "And more of it."
        found: list[int] = [n]
        yield from found
'''
DONE = "@decorated\nclass A:\n  x: int = (1)\n  def f(self, n, *rest):\n    found = [n]\n    yield from found"


def test_what_is_only_said_does_not_count():
    assert digest(bare(SAID)) == digest(bare(DONE))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x: int", "x: str"),
        ("(1)", "(2)"),
        ("(1)", "(1.0)"),
        ("(1)", "(True)"),
        ("[n]", "[n, '']"),
        ("n, *rest", "n=0, *rest"),
        ("yield from found", "yield found"),
        ("@decorated", "@other"),
        ("@decorated", "import a\n@decorated"),
    ],
)
def test_what_is_done_counts(before, after):
    assert before in DONE
    assert digest(bare(DONE)) != digest(bare(DONE.replace(before, after)))


def test_a_digest_is_the_same_on_every_python():
    assert (
        digest(bare("def f(a, /, *, b=None, **c): return f'{a!r:>{b}}' if b else [*c, -1.5e-3, b'x', ...]"))
        == "04adf468"
    )
