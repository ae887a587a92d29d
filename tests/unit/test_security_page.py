"""SECURITY.md names tests that there are."""

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2]


def test_every_guard_has_its_test():
    page = (SOURCE / "SECURITY.md").read_text(encoding="utf-8")
    table = page[page.index("| asset |") : page.index("The kernels in C")].splitlines()[2:]
    rows = [line for line in table if line]
    assert len(rows) > 10
    for row in rows:
        tests = re.findall(r"`((?:unit|e2e)/test_\w+\.py)`", row.split("|")[4])
        assert tests, row
        for test in tests:
            assert (SOURCE / "tests" / test).is_file(), test
