"""The lanes of tests: nox -s NAME (nox -l). CONTRIBUTING.md says which is for what.

`fast`, `full`, `lint` and `wheel` run in the environment that nox is in. The others make one of their own,
with other Pythons and libraries than `constraints.txt` names.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["oldest", "newest"]

_NEEDED = ("hypothesis", "pytest", "pytest-xdist", "scikit-learn")


@nox.session(python=False)
def fast(session: nox.Session) -> None:
    """The unit tests that are not slow: below a minute on two cores."""
    session.run(
        "python", "-m", "pytest", "-q", "-n", "2", "-m", "not slow", *(session.posargs or ["tests/unit"])
    )


@nox.session(python=False)
def full(session: nox.Session) -> None:
    """All tests, and those of the plug-ins."""
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)
    session.run("python", "-m", "pytest", "-q", "plugins/git-theta-json")


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Style, and types."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=False)
def wheel(session: nox.Session) -> None:
    """Build the wheel: nox -s wheel [-- FOLDER]; it is thrown away unless told."""
    with tempfile.TemporaryDirectory() as folder:
        target = session.posargs[0] if session.posargs else folder
        session.run("python", "-m", "build", "--wheel", "--outdir", target, ".", silent=True)


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """The unit tests with the oldest Python and libraries that are supported, without a C compiler."""
    session.install("-c", "constraints-oldest.txt", ".", *_NEEDED, env={"CC": "false"})
    _test(session)


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """The unit tests with the newest Python that is supported, and the newest libraries for it."""
    session.install("--upgrade", ".", *_NEEDED, "zarrs")
    _test(session)


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
@nox.parametrize("compiled", [True, False], ids=["compiled", "portable"])
@nox.parametrize("numpy", ["numpy==1.26.*", "numpy>=2"], ids=["numpy1", "numpy2"])
def pythons(session: nox.Session, numpy: str, compiled: bool) -> None:
    """The fast lane with each supported Python, with and without a C compiler, with NumPy 1.26 and 2."""
    if session.python == "3.13" and numpy != "numpy>=2":
        session.skip("NumPy 1.26 is not for Python 3.13")
    zarr = ["zarr<3.2"] if numpy != "numpy>=2" else []  # later ones need NumPy 2, and do not say so
    session.install(".", numpy, *zarr, *_NEEDED, env={} if compiled else {"CC": "false"})
    _test(session, "-m", "not slow")


@nox.session(python="3.11")
def fuzz(session: nox.Session) -> None:
    """Fuzz what reads unchecked bytes: nox -s fuzz -- SECONDS [TARGET...]; ten seconds each unless told."""
    seconds, *targets = session.posargs or ["10"]
    session.install("-e", ".", "atheris")
    for target in targets or sorted(path.name for path in Path("tests/fuzz/corpus").iterdir()):
        with tempfile.TemporaryDirectory() as found:  # what is new goes here, not into the corpus
            folders = found, f"tests/fuzz/corpus/{target}"
            session.run("python", "tests/fuzz/run.py", target, *folders, f"-max_total_time={seconds}")


@nox.session(python="3.11")
def kills(session: nox.Session) -> None:
    """Kill every command that writes before each of its writing system calls; takes a quarter of an hour."""
    session.install("-e", ".", *_NEEDED, "torch")
    tests = session.posargs or ["tests/e2e/test_kills.py"]
    session.run("pytest", "-q", "-n", "2", *tests, env={"GIT_THETA_ALL_KILLS": "1"})


@nox.session(python="3.11")
def sanitize(session: nox.Session) -> None:
    """Run the kernels' tests with the address and undefined-behaviour sanitizers of the C compiler."""
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"
    session.install(".", *_NEEDED, env={"CFLAGS": flags, "LDFLAGS": "-fsanitize=address,undefined"})
    library = subprocess.run(
        [os.environ.get("CC", "gcc"), "-print-file-name=libasan.so"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    environment = {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python itself keeps what it has
        "PYTHONMALLOC": "malloc",  # so that every buffer has its own bounds
    }
    tests = ["tests/unit/test_kernels.py", "tests/unit/test_residual.py", "tests/unit/test_fuzz_corpus.py"]
    session.run("pytest", "-q", "-p", "no:cacheprovider", *(session.posargs or tests), env=environment)


def _test(session: nox.Session, *options: str) -> None:
    tests = session.posargs or ["tests/unit"]
    session.run("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *options, *tests)
