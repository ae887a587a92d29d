"""Comparisons as a page."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from diff_examples import absent, lora_report, random_model, showcase, tensor, version

from git_theta.diffs import page
from git_theta.diffs.compare import compare_checkpoints

IMAGES = Path(__file__).parents[2] / "docs" / "images"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Reader(HTMLParser):
    """Collects tags with their attributes, checks that they are closed, and the texts of the table's rows."""

    VOID = ("meta", "rect", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def names(text: str) -> list[str]:
    return re.findall(r'<th scope="row" data-value="([^"]*)"', text)


def test_it_is_well_formed_and_needs_nothing_else() -> None:
    text = page.render(showcase())
    reader = Reader(text)
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object")
        assert not {"src", "href", "srcset", "style"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_it_is_the_same_each_time() -> None:
    assert page.render(showcase()) == page.render(showcase())


def test_every_tensor_has_a_row_the_largest_change_first() -> None:
    report = lora_report()
    found = names(page.render(report))
    assert sorted(found) == sorted(row.name for row in report.rows)
    relative = {row.name: row.change.relative_norm for row in report.rows if row.change}
    assert [relative[name] for name in found] == sorted(relative.values(), reverse=True)


def test_what_it_says() -> None:
    text = page.render(showcase())
    for words in (
        "LoRA, rank 4 on 12 matrices",
        "vocabulary 512 → 520",
        "also called lm_head.weight",
        "was h.4.mlp.up.weight",
        "is missing",
        "HEAD~1 → HEAD",
        'class="unknown"',
        "entries did not change",
    ):
        assert words in text


def test_names_are_only_text() -> None:
    evil = '<script>alert("1")</script>&\x1b'
    model = {f"h.0.{evil}": tensor("F32", np.ones(3)), evil: tensor("F32", np.ones(4))}
    text = page.render(compare_checkpoints(absent("<b>"), version(model, "<i>"), path="<u>.bin"))
    reader = Reader(text)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert not {"b", "u"} & {tag for tag, _ in reader.tags}
    assert "\x1b" not in text


def test_nothing_to_show() -> None:
    model = version(random_model(1))
    assert Reader(page.render(compare_checkpoints(model, model))).open == []
    assert Reader(page.render(compare_checkpoints(absent(), absent()))).open == []


def in_browser(path: Path, profile: Path, fragment: str = "") -> str:
    """The page after its script has run."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command += ["--disable-dev-shm-usage", "--no-first-run", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run(
        [*command, f"{path.as_uri()}{fragment}"], capture_output=True, timeout=120, check=True
    )
    return done.stdout.decode()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_the_table_sorts_in_a_browser(tmp_path: Path) -> None:
    report = lora_report()
    path = tmp_path / "page.html"
    path.write_text(page.render(report), encoding="utf-8")
    norms = {row.name: row.change.norm for row in report.rows if row.change}
    by_norm = in_browser(path, tmp_path / "profile", "#sort=norm")
    assert [norms[name] for name in names(by_norm)] == sorted(norms.values(), reverse=True)
    assert 'aria-sort="descending"' in by_norm
    by_name = names(in_browser(path, tmp_path / "profile", "#sort=name"))
    assert by_name[:2] == ["h.0.attn.q.weight", "h.0.attn.v.weight"]
    assert by_name[4:6] == ["h.2.attn.q.weight", "h.2.attn.v.weight"]


class Acted(HTMLParser):
    """The names of the table's rows, its sorted columns and the hint, as a script has left them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.sorted: dict[str, str] = {}
        self.hint: dict[str, str | None] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "th" and found.get("scope") == "row":
            self.rows.append(found["data-value"] or "")
        if (column := found.get("data-column")) and (way := found.get("aria-sort")):
            self.sorted[column] = way
        if found.get("id") == "hint":
            self.hint = found


def acted(page: Path, folder: Path, script: str) -> tuple[Acted, str]:
    """A page after somebody has clicked and pointed, and its document."""
    copy = folder / "acted.html"
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    document = in_browser(copy, folder / "profile")
    return Acted(document), document


def click(column: str) -> str:
    return f"document.querySelector('th[data-column={column}] button').click();"


def point_at(selector: str) -> str:
    return (
        f"document.querySelector('{selector}').dispatchEvent("
        "new PointerEvent('pointermove', {bubbles: true, clientX: 40, clientY: 60}));"
    )


def test_the_page_in_the_docs_is_of_this_version() -> None:
    text = (IMAGES / "diff-lora.html").read_text(encoding="utf-8")
    for name in ("page.css", "page.js"):
        assert Path(page.__file__).with_name(name).read_text(encoding="utf-8") in text
    assert "LoRA, rank 8 on 48 matrices" in text
    assert len(names(text)) == 48
    picture = (IMAGES / "diff-lora.png").read_bytes()
    width, height = struct.unpack(">II", picture[16:24])
    assert picture[:4] == b"\x89PNG"
    assert min(width, height) > 500
    assert max(len(picture), len(text.encode())) < 100_000, "small files"


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_clicks_and_hints_of_the_page_in_the_docs_in_a_browser(tmp_path: Path) -> None:
    docs = IMAGES / "diff-lora.html"
    text = docs.read_text(encoding="utf-8")
    cosines = {
        name: float(re.findall(r'data-value="([^"]*)"', row)[5])
        for row in re.findall(r"<tr><th scope=\"row\".*?</tr>", text)
        for name in names(row)
    }
    once, _ = acted(docs, tmp_path, click("cosine"))
    assert [cosines[name] for name in once.rows] == sorted(cosines.values(), reverse=True)
    assert once.sorted == {"cosine": "descending"}
    assert "hidden" in once.hint
    twice, document = acted(
        docs, tmp_path, click("norm") + 2 * click("cosine") + point_at("svg.heat rect.s8")
    )
    assert [cosines[name] for name in twice.rows] == sorted(cosines.values())
    assert twice.sorted == {"cosine": "ascending"}
    assert "hidden" not in twice.hint
    hint = unescape(document.partition('<div id="hint"')[2].partition(">")[2].partition("</div>")[0])
    assert re.fullmatch(r"h\.20\.attn\.q\.weight: 0\.01437", hint)
    away, _ = acted(docs, tmp_path, point_at("svg.heat rect.s8") + point_at("h1"))
    assert "hidden" in away.hint


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_rows_without_a_number_stay_last_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page.render(showcase()), encoding="utf-8")
    found = names(in_browser(path, tmp_path / "profile", "#sort=rank"))
    ranked = {row.name for row in showcase().rows if row.change and row.change.rank}
    assert set(found[: len(ranked)]) == ranked
