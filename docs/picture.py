"""Draw docs/doctor.png, the picture of a page in the README: ``python docs/picture.py``. Needs Chromium."""

import os
import sys
import tempfile
from pathlib import Path

import pageblock
from pageblock.doctor import diagnose
from pageblock.machine import read_machine
from pageblock.view.html import to_html

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.view.browser import Browser  # noqa: E402

WIDTH, HEIGHT = 1060, 776

#: Where the pointer is on the last zone's map, px.
POINT = (160, 11)


def draw(path: Path) -> None:
    """The recorded machine's page, with the pointer on a blocked range."""
    # the page names its source: not with the folder in which the package lies here
    os.chdir(Path(pageblock.__file__).parent)
    report = diagnose(read_machine(Path("recorded/guest-6.1.192")))
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "page.html"
        page.write_text(to_html(report), encoding="utf-8")
        browser = Browser(Path(name) / "profile")
        try:
            browser.open(page, WIDTH, HEIGHT)
            x, y = browser.js(
                "(() => { const all = document.querySelectorAll('#zones canvas');"
                "const box = all[all.length - 1].getBoundingClientRect(); return [box.x, box.y]; })()"
            )
            browser.mouse("mouseMoved", x + POINT[0], y + POINT[1])
            browser.screenshot(path, whole=False)
        finally:
            browser.close()


if __name__ == "__main__":
    draw(ROOT / "docs" / "doctor.png")
