"""Fuzzes one target with atheris: python tests/fuzz/run.py TARGET [CORPUS...] [-max_total_time=SECONDS].

What it finds is kept as crash-* beside the corpus: put it there, and `tests/unit/test_fuzz_corpus.py` runs it
from then on.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["git_theta"]):
    sys.path.insert(0, str(Path(__file__).parent))
    from targets import TARGETS

_BYTES, _SECONDS, _MEGABYTES = 1 << 16, 10, 2048


def main() -> None:
    name, *rest = sys.argv[1:]
    limits = [f"-max_len={_BYTES}", f"-timeout={_SECONDS}", f"-rss_limit_mb={_MEGABYTES}"]
    folder = Path(__file__).parent / "corpus" / name
    atheris.Setup(
        [sys.argv[0], *limits, f"-artifact_prefix={folder}/", *(rest or [str(folder)])], TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
