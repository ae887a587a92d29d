"""The README's tour works as it stands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


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
    assert "4 merged (average)" in done.stdout
    assert "model.safetensors: the same result" in done.stdout
