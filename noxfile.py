"""What is tested with other Pythons and libraries than `constraints.txt` names: nox -s NAME (nox -l)."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["oldest", "newest"]

_NEEDED = ("hypothesis", "pytest", "pytest-xdist", "scikit-learn")


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


def _test(session: nox.Session) -> None:
    session.run("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *(session.posargs or ["tests/unit"]))
