"""The site: every page has its place; built, no page has an error, asks elsewhere, overflows or has a mute picture."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "website" / "mkdocs.yml"
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


def named(entry: Any) -> Iterator[str]:
    """Pages that a part of the navigation names."""
    if isinstance(entry, str):
        yield entry
    else:
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from named(part)


def test_every_page_has_its_place_in_the_navigation() -> None:
    yaml = pytest.importorskip("yaml")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    made = {"index.md", "changelog.md", "notebook.md", "surprises.md", "catalogue/", "api/"}
    assert set(named(yaml.safe_load(SITE.read_text(encoding="utf-8"))["nav"])) == pages | made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, each warning an error."""
    pytest.importorskip("material", reason="the extra [docs]")
    place = tmp_path_factory.mktemp("site")
    begun = time.process_time() + sum(os.times()[2:4])
    words = ["-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", str(SITE), "--site-dir", str(place)]
    built = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert time.process_time() + sum(os.times()[2:4]) - begun < 60
    return place


@pytest.mark.slow
def test_what_is_generated_is_there(site: Path) -> None:
    from registry import KINDS, catalogue

    for kind in KINDS:
        page = (site / "catalogue" / f"{kind}.html").read_text(encoding="utf-8")
        for item in catalogue().items(kind):
            assert f'id="{item.entry.name}"' in page, f"{item.full_name} is not on the page of {kind}"
    assert 'id="taskgen.faces.making.make_trials_vec"' in (site / "api" / "tasks.html").read_text(encoding="utf-8")
    surprises = (site / "surprises.html").read_text(encoding="utf-8")
    for finding in (ROOT / "findings").glob("*.sh"):
        assert finding.name in surprises


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    """The address of the site on this machine: search does not work from disk."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Chromium of the width asked for, without a window."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the extra [docs]")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(word)
    width, height = WIDTHS[request.param]
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": width, "height": height}})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.mark.slow
@pytest.mark.parametrize("browser", WIDTHS, indirect=True)
def test_pages_in_a_browser(site: Path, served: str, browser: Any) -> None:
    problems: list[str] = []
    for page in sorted(str(path.relative_to(site)) for path in site.rglob("*.html")):
        browser.get(served + page)
        problems += [f"{page}: {line['message']}" for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        events = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        problems += [f"{page} asks {url}" for url in asked if not url.startswith((served, "data:", "blob:"))]
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if (pixels := browser.execute_script(wide)) > 0:
            problems.append(f"{page} is {pixels} pixels too wide")
        for what, is_so in (("no text", "!i.alt.trim()"), ("nothing to show", "i.complete && !i.naturalWidth")):
            found = browser.execute_script(f"return [...document.images].filter(i => {is_so}).map(i => i.src)")
            problems += [f"{page}: {picture} has {what}" for picture in found]
    assert not problems, "\n".join(problems)
