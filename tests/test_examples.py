"""Every example runs and prints finite numbers; the README lists them all."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_runs(script, capsys):
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert len(re.findall(r"\d\.\d", printed)) >= 6
    assert "nan" not in printed


def test_readme_lists_every_script():
    listed = re.findall(r"\| `(\w+\.py)` \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == [path.name for path in SCRIPTS]
