"""The page in a browser: no sideways scrolling on a phone or a desktop, and all of it within reach of the keyboard."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evaluation.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1400,2000",
    "--virtual-time-budget=8000",
]

# Runs in the page, says what a reader would meet, and tells the frame around it.
PROBE = """
<script>
addEventListener("load", () => {
for (const fold of document.querySelectorAll("details")) fold.open = true;
setTimeout(() => {
  const root = document.documentElement, said = {width: innerWidth, scroll: root.scrollWidth};
  said.wide = [...document.querySelectorAll("body *")].filter(element =>
    !element.closest(".scroll, .hidden, .skip") && element.getBoundingClientRect().right > innerWidth + 1).length;
  said.boxes = [...document.querySelectorAll(".scroll")].filter(box =>
    box.scrollWidth > box.clientWidth + 1 && (box.tabIndex !== 0 || box.previousElementSibling.hidden
    || !(box.ariaLabel || document.getElementById(box.getAttribute("aria-labelledby"))))).length;
  said.scrolling = [...document.querySelectorAll(".scroll")].filter(box =>
    box.scrollWidth > box.clientWidth + 1).length;
  said.hints = [...document.querySelectorAll(".hint")].filter(hint => !hint.hidden).length;
  said.letters = Math.min(...[...document.querySelectorAll("svg text")].filter(text => text.textContent.trim()).map(
    text => parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b)));
  said.columns = new Set([...document.querySelectorAll("#figures figure")].map(each =>
    Math.round(each.getBoundingClientRect().left))).size;
  const ending = Math.max(...[...document.querySelectorAll("#figures figure")].map(each =>
    each.getBoundingClientRect().right));
  said.used = ending / root.clientWidth;
  const boxes = [...document.querySelectorAll("#figures figure")].map(each => each.getBoundingClientRect());
  said.empty = boxes.filter(box => box.right < .9 * root.clientWidth
    && !boxes.some(other => other.left >= box.right && other.top < box.bottom && other.bottom > box.top)).length;
  said.captions = [...document.querySelectorAll(".caption")].filter(each =>
    each.scrollWidth > each.clientWidth || each.closest(".scroll")).length;
  said.headings = [...document.querySelectorAll("h1, h2, h3")].map(heading => heading.tagName).join(" ");
  const table = [...document.querySelectorAll("table")].find(each =>
    document.getElementById(each.getAttribute("aria-labelledby")).textContent.includes("at each checkpoint"));
  const button = table.querySelectorAll("th button")[1], column = () =>
    [...table.tBodies[0].rows].map(row => row.cells[1].textContent).join(" ");
  button.focus();
  said.focused = document.activeElement === button;
  button.click();
  said.up = [column(), button.parentElement.getAttribute("aria-sort")];
  button.click();
  said.down = [column(), button.parentElement.getAttribute("aria-sort")];
  said.font = Math.min(...[...document.querySelectorAll("p, li, td, figcaption, button")].map(element =>
    parseFloat(getComputedStyle(element).fontSize)));
  parent.postMessage(JSON.stringify(said), "*");
}, 300);  // once the boxes have been looked at
});
</script>
"""
FRAME = """<!doctype html><body><script>
addEventListener("message", event => { document.body.append(Object.assign(document.createElement("pre"),
  {textContent: event.data})); });
</script>
<iframe src="page.html" style="width:390px;height:800px;border:0"></iframe>
<iframe src="page.html" style="width:1280px;height:800px;border:0"></iframe></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_page_in_a_browser(story: Path, tmp_path: Path) -> None:
    page = write_report([story], tmp_path).read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(page.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME, encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    url = (tmp_path / "frame.html").as_uri()
    run = subprocess.run([*command, url], capture_output=True, text=True, timeout=120)
    said = [json.loads(text) for text in re.findall(r"<pre>(.*?)</pre>", run.stdout)]
    assert sorted(each["width"] for each in said) == [390, 1280], run.stderr[-2000:]
    for each in said:
        assert each["scroll"] <= each["width"]  # the page itself never scrolls sideways
        assert each["wide"] == 0
        assert each["boxes"] == 0  # what scrolls in its own box can be reached, is named, and says so
        assert each["hints"] == each["scrolling"]
        assert each["letters"] >= 9.5  # pixels, of the smallest text in a figure
        assert each["captions"] == 0  # a caption is never cut, and does not scroll with its table
        assert each["columns"] == (1 if each["width"] == 390 else 2)
        assert each["used"] > 0.95  # of the width
        assert each["empty"] == 0  # figures with nothing to their right
        assert each["focused"]
        values, order = each["up"]
        assert order == "ascending"
        assert values.split() == sorted(values.split(), key=float)
        assert each["down"] == [" ".join(reversed(values.split())), "descending"]
        assert each["font"] >= 13
        levels = [int(heading[1]) for heading in each["headings"].split()]
        assert levels.count(1) == 1
        assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
