"""The README's tour works as it stands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from git_theta.git.version import OLDEST

SOURCE = Path(__file__).parents[2]
README = SOURCE / "README.md"


def tour() -> str:
    text = README.read_text()
    section = text[text.index("## A two-minute tour") : text.index("## How it works")]
    blocks = re.findall(r"^```bash\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    return "".join(blocks)


def test_tour(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", tour()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 4 tensors changed" in done.stdout + done.stderr
    for line in shown():
        assert line in done.stdout + done.stderr


def shown() -> list[str]:
    """Lines of output that the README shows, but for sizes, names of commits and dates."""
    blocks = re.findall(r"^```text\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    lines = [re.sub(r", [\d.]+ KB stored.*", "", line) for block in blocks for line in block.splitlines()]
    found = [
        line for line in lines if line.startswith(("model.safetensors", "    Theta-", "  main and", "  4 "))
    ]
    assert len(found) == 9
    return [*found, *re.findall(r"KB stored (\(.*?\))", "".join(blocks))]


def test_versions_and_commands_that_the_readme_names() -> None:
    text = README.read_text()
    (python,) = re.findall(r"Python (3\.\d+) or newer", text)
    assert f'requires-python = ">={python}"' in (SOURCE / "pyproject.toml").read_text()
    assert f"Git {OLDEST[0]}.{OLDEST[1]} or newer" in text
    start = text[text.index("## Start") : text.index("## A two-minute tour")]
    demo, tests = re.findall(r"^```bash\n(.*?)^```", start, re.DOTALL | re.MULTILINE)
    assert 'pip install -c constraints.txt -e ".[torch]" && git theta demo ' in demo
    steps = (SOURCE / ".ci" / "run").read_text().replace("pip install -q", "pip install")
    lanes = (SOURCE / "noxfile.py").read_text().replace('", "', " ")
    setup, run = 'pip install -c constraints.txt -e ".[torch,test]"', "python -m pytest -n 2"
    assert f"{setup} && {run}\n" in tests
    assert setup in steps
    assert re.search(r"^nox .*\bfull\b", steps, re.MULTILINE)
    assert f'session.run("{run} *' in lanes.replace('", *', " *")


def test_constraints_pin_one_release_for_every_python() -> None:
    pins: dict[str, list[str]] = {}
    for line in (SOURCE / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            pin, _, marker = line.partition("; ")
            pins.setdefault(pin.partition("==")[0].lower(), []).append(marker)
    both = ["python_version >= '3.11'", "python_version < '3.11'"]
    assert all(markers in ([""], both, both[1:]) for markers in pins.values())
    required = re.findall(r'^    "([A-Za-z0-9-]+)>=', (SOURCE / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(required) <= pins.keys()
