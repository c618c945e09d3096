"""The three lists of packages say the same, and the code imports nothing that is on none of them."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.notebooks import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
BUILD = PYPROJECT["build-system"]["requires"]
APART = {"k-diffusion"}  # extras for an environment of their own


def requirements(lines):
    parsed = [Requirement(line) for line in lines if line.strip() and not line.startswith(("#", "-"))]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def exact_version(requirement):
    [specifier] = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not an exact pin"
    assert "*" not in specifier.version, f"{requirement} is not an exact pin"
    assert "+" not in specifier.version, f"{requirement} names a local build"
    return specifier.version


PINNED = requirements((ROOT / "requirements.txt").read_text().splitlines())
TOGETHER = [line for name, extra in EXTRAS.items() if name not in APART for line in extra]
DIRECT = requirements([*PROJECT["dependencies"], *BUILD, *TOGETHER])
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())


def pip_section():
    [section] = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    return section


def test_every_requirement_is_an_exact_pin():
    for requirement in PINNED.values():
        assert exact_version(requirement)
        assert requirement.url is None


def test_pins_are_of_this_environment():
    from importlib.metadata import version

    for name, requirement in PINNED.items():
        if requirement.marker is None or requirement.marker.evaluate():
            assert version(name).split("+")[0] == exact_version(requirement), name


def test_direct_dependencies_are_pinned_within_their_bounds():
    for name, requirement in DIRECT.items():
        assert name in PINNED, f"pyproject.toml asks for {requirement}, and requirements.txt has no pin of it"
        assert requirement.specifier.contains(exact_version(PINNED[name])), name


def test_environment_has_the_pins_of_the_direct_dependencies():
    listed = requirements(pip_section())
    assert set(listed) == set(DIRECT)
    for name, requirement in listed.items():
        assert exact_version(requirement) == exact_version(PINNED[name]), name


def test_environment_installs_the_package_under_the_pins():
    assert "-e ." in pip_section()
    assert "--constraint requirements.txt" in pip_section()
    assert "python=3.11" in ENVIRONMENT["dependencies"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_torch_and_torchvision_are_a_pair():
    assert exact_version(PINNED["torch"]) == "2.13.0"
    assert exact_version(PINNED["torchvision"]) == "0.28.0"


@pytest.mark.parametrize("file", ["requirements.txt", "README.md", "book/troubleshooting.md"])
def test_the_build_for_cpus_is_named_where_people_look(file):
    """A version such as 2.13.0+cpu is within the pin, and newer than 2.13.0: pip takes it where it is offered."""
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make setup" in text
    for name in ("torch", "torchvision"):
        pinned = exact_version(PINNED[name])
        assert PINNED[name].specifier.contains(f"{pinned}+cpu")
        assert Version(f"{pinned}+cpu") > Version(pinned)


def test_versions_of_package_and_citation_agree():
    import wavescore_lite

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == wavescore_lite.__version__


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("wavescore_lite", ["course"]),
        ("tools", ["book"]),
        ("assignments", ["course"]),
        ("tests", ["book", "course", "test"]),
    ],
)
def test_imports_are_declared(folder, extras):
    own = {"wavescore_lite", "assignments", "tools", "tests", "offline_mathjax", *sys.stdlib_module_names}
    provided_by_book = {"sphinx", "docutils"}
    declared = requirements([*PROJECT["dependencies"], *(line for name in extras for line in EXTRAS[name])])
    distributions = packages_distributions()
    for path in sorted((ROOT / folder).rglob("*.py")):
        for module in set(imported(path)) - own - provided_by_book:
            names = {canonicalize_name(name) for name in distributions.get(module, [module])}
            assert names & set(declared), f"{path.relative_to(ROOT)} imports {module}, which is not declared"
