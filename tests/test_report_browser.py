"""A real browser opens the report from disk, without network, on a desk and on a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from bench.report import build
from tests import synthetic

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=10000",
    "--enable-logging=stderr",
]

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium: apt-get install chromium")

# Added to a copy of the page, which has no script of its own: tells what the browser laid out.
PROBE = """<script>
addEventListener("load", () => {
  const charts = [...document.querySelectorAll("figure svg")];
  const size = b => [b.width, b.height];
  const scale = m => Math.hypot(m.a, m.b);
  const pixels = t => parseFloat(getComputedStyle(t).fontSize) * scale(t.getScreenCTM());
  parent.postMessage({
    sizes: charts.map(c => size(c.getBoundingClientRect())),
    drawn: charts.map(c => size(c.getBBox())),
    marks: charts.map(c => c.querySelectorAll("path, use").length),
    smallest_text: Math.min(...charts.flatMap(c => [...c.querySelectorAll("text")].map(pixels))),
    width: document.documentElement.clientWidth,
    needed: document.documentElement.scrollWidth,
    loaded: performance.getEntriesByType("resource").map(r => r.name),
    background: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
    tables: document.querySelectorAll("table").length,
  }, "*");
});
</script>"""

# A window is never narrower than 500 pixels; a frame in it is as narrow as a phone.
FRAME = """<!doctype html><body style="margin:0">
<script>addEventListener("message", e => {{
  const seen = document.createElement("pre");
  seen.textContent = JSON.stringify(e.data);
  document.body.append(seen);
}});</script>
<iframe src="probed.html" style="border:0;width:{width}px;height:900px"></iframe>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    runs = [synthetic.run(results, language) for language in synthetic.LANGUAGES]
    return build.build(runs, tmp_path_factory.mktemp("report"))


def look(page: Path, tmp_path: Path, width: int, dark: bool = False) -> tuple[Any, list[str]]:
    """What was laid out in a view `width` pixels wide, and what the console says."""
    assert CHROMIUM
    text = page.read_text(encoding="utf-8")
    probed, frame = tmp_path / "probed.html", tmp_path / "frame.html"
    probed.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={width + 20},900",
            "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(unescape(found[1])), console


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_in_a_browser(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    seen, console = look(page, tmp_path, width, dark)
    assert console == []
    assert seen["loaded"] == []
    assert seen["width"] == width
    assert seen["needed"] <= width  # nothing sticks out to the side
    assert len(seen["sizes"]) == 8
    assert all(w > 250 and h > 100 for w, h in seen["sizes"] + seen["drawn"])
    assert all(marks > 5 for marks in seen["marks"])
    assert seen["smallest_text"] >= 9
    assert seen["tables"] >= 6
    light_on_dark = sum(map(int, re.findall(r"\d+", seen["ink"]))) > sum(
        map(int, re.findall(r"\d+", seen["background"]))
    )
    assert light_on_dark is dark
