"""README and docs: short enough, no link that is dead, no page that is not linked, figures and commands current."""

import re
from pathlib import Path

import pytest

from benchmarks import table
from registry import KINDS, catalogue

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *PAGES]
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[tuple[Path, str]]:
    """Files that a page links to or shows, each with the heading's anchor, if any; not those of the web."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = [target.partition("#") for target in _LINK.findall(text) if "://" not in target]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in found]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(README.read_bytes()) < 12_000


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_no_link_is_dead(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to #{anchor} of {target.name}"


def test_every_page_and_picture_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [README]
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            ahead += [target for target, _ in links(page)] if page.suffix == ".md" else []
    files = {path for path in (ROOT / "docs").rglob("*") if path.is_file()}
    assert not sorted(str(path.relative_to(ROOT)) for path in files - reached)


def test_figures_are_those_recorded() -> None:
    assert table.main(["--check"]) == 0, "run `make figures`"


def test_ten_figures_head_the_readme_and_all_are_on_the_page() -> None:
    assert len(table.HEADLINES) == 10
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    for result in table.recorded():
        section = page.partition(f"\n## {result['benchmark']}\n")[2].partition("\n## ")[0]
        assert section.count("\n| ") - section.count("\n| what |") == len(result["rows"])


NAMING = [page for page in DOCUMENTS if page.name != "plugin-kinds.md"]
"""What that page names its plugins bring; tests/registry/test_scaffold.py runs its commands."""


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_commands_name_what_there_is(page: Path) -> None:
    """Verbs, experiments, sources, families, benchmarks and targets of make; what plugins add is left alone."""
    listed = {kind: [*catalogue().items(kind), *catalogue().absent(kind)] for kind in KINDS}
    known = {kind: {item.entry.name for item in items} for kind, items in listed.items()}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"python -m benchmarks\.([a-z]\w*)", text):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
    for block in re.findall(r"```\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.partition(" #")[0].split()
            if words[:1] == ["make"]:
                assert set(words[1:]) <= targets, line
            if words[:1] != ["taskgen"] or "--plugin" in words:
                continue
            verb, rest = words[1], words[2:]
            assert verb in {*known["commands"], "list", "describe", "doctor", "new-plugin"}, line
            if verb in ("train", "plan", "sweep") and not rest[0].endswith(".toml"):
                assert rest[0] in known["experiments"], line
            if verb == "generate":
                assert rest[0] in known["generators"] | known["curricula"], line
            if "--family" in rest:
                assert rest[rest.index("--family") + 1] in known["families"], line


@pytest.mark.parametrize(
    ("value", "target", "shown"),
    [
        (156.16719, ">= 156.2", "156.17"),
        (156.2004, ">= 156.2", "156.2"),
        (6.6197, ">= 6.62", "6.6197"),
        (12_345.4, "<= 12345", "12,345.4"),
        (0.50004, (0.1, 0.5), "0.50004"),
        (156.16719, None, "156.2"),
        (156.16719, 156.2, "156.2"),
    ],
)
def test_a_figure_is_shown_on_the_side_of_its_target_that_it_is_on(value, target, shown):
    measured = table._measured({"value": value, "low": 0.0, "high": 1.0, "target": target})
    assert measured == f"{shown} [0, 1]"
