"""Pages that are made as the site is built: its start, notebook, catalogue, API, what surprised us, the changes.

MkDocs calls what is named `on_...`, in this order: `on_config` gives generated pages their places, `on_files` adds them
and the files that pages link to, `on_page_markdown` turns links between files into links between pages.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from registry import KINDS, Item, catalogue
from registry.errors import UserError
from registry.fields import settings

ROOT = Path(__file__).parents[1]
API: Mapping[str, tuple[str, ...]] = {
    "tasks": ("taskgen.spec", "taskgen.taskset", "taskgen.source", "taskgen.build", "taskgen.faces.making"),
    "families": ("taskgen.family", "taskgen.space", "taskgen.reward"),
    "agents": ("taskgen.interaction.agent", "agents.reference.player", "agents.networks.base"),
    "runs": ("agents.api",),
    "statistics": ("agents.evaluation.statistics",),
    "plugins": ("registry.entry", "registry.hookspecs", "registry.config", "registry.testing"),
}
"""Modules of each page of the API."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Generated pages stand where the navigation names their folder."""
    pages = {"catalogue/": KINDS, "api/": tuple(API)}
    for section in config.nav or ():
        for entries in section.values() if isinstance(section, dict) else ():
            for entry in entries if isinstance(entries, list) else ():
                for title, place in entry.items():
                    if place in pages:
                        entry[title] = [{name.capitalize(): f"{place}{name}.md"} for name in pages[place]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file of the documentation holds, results that pages link to, and the style."""
    made = {
        "index.md": (ROOT / "README.md").read_text(encoding="utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "notebook.md": notebook_page(ROOT / "docs" / "notebook.ipynb"),
        "surprises.md": surprises(sorted((ROOT / "findings").glob("*.sh"))),
        **{f"catalogue/{kind}.md": "\n".join(kind_page(kind)) for kind in KINDS},
        **{f"api/{name}.md": api_page(name, modules) for name, modules in API.items()},
        "site.css": (ROOT / "website" / "site.css").read_text(encoding="utf-8"),
    }
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    for result in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        files.append(File.generated(config, f"results/{result.name}", abs_src_path=str(result)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the repository as links of the site."""
    moved = markdown.replace("](../benchmarks/results/", "](results/").replace("notebook.ipynb)", "notebook.md)")
    if page.file.src_uri in ("index.md", "changelog.md"):
        moved = moved.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")
    return moved


def kind_page(kind: str) -> Iterator[str]:
    """Lines of the page of one kind of entry: what is in the catalogue, each with its settings."""
    items = catalogue().items(kind)
    yield f"# {kind.capitalize()}\n"
    yield f"All {len(items)} of the catalogue, as `taskgen describe {kind}/NAME` has them too.\n"
    yield from table(("name", "what it is"), [(f"[{i.entry.name}](#{i.entry.name})", i.entry.summary) for i in items])
    for item in items:
        yield from entry_section(item)


def entry_section(item: Item) -> Iterator[str]:
    """Lines of the section of one entry."""
    entry = item.entry
    yield f"## {entry.name}\n\n{entry.summary}\n"
    facts = {
        "from": entry.citation,
        "needs": ", ".join(need.replace("|", " or ") for need in entry.needs),
        "offers": ", ".join(entry.offers),
        "source": f"`{entry.target}`",
    }
    yield "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact) + "\n"
    if item.kind == "experiments":
        yield f"```toml\n{tomli_w.dumps(item.load())}```\n"
        return
    rows = [(f"`{s.path}`", s.type, s.default, s.allowed, s.description) for s in settings(item.config_class())]
    if rows:
        yield from table(("setting", "type", "default", "allowed", "description"), rows)
    if item.kind == "families":
        yield from knobs(item)


def knobs(item: Item) -> Iterator[str]:
    """Lines of what tasks of a family may vary; a family that stands on a file or a class has them from there."""
    try:
        rows = item.build({}, name=item.full_name).explained()
    except UserError:
        yield f"What its tasks may vary depends on its settings: `taskgen describe {item.entry.name} KEY=VALUE`.\n"
        return
    if rows:
        yield from table(("knob", "values", "range", "default", "unit", "varied", "meaning"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table."""
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |"
    yield ""


def api_page(name: str, modules: Sequence[str]) -> str:
    """A page of the API, from docstrings."""
    return f"# {name.capitalize()}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"


def notebook_page(file: Path) -> str:
    """An executed notebook as a page. MkDocs-Jupyter 0.26 would do, but that its pages fetch MathJax from elsewhere."""
    parts: list[str] = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            if "text" in output:
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
            elif picture := "".join(output["data"].get("image/png", "")).replace("\n", ""):
                parts.append(f"![{output['metadata']['image/png']['alt']}](data:image/png;base64,{picture})")
    return "\n\n".join(parts) + "\n"


def surprises(findings: Sequence[Path]) -> str:
    """The page of what real libraries do, from the comments at the head of each finding."""
    about = "What one would guess of a public package, and what it does. Each is a file of `findings/` that installs"
    sections = [f"# What surprised us in other libraries\n\n{about} the pinned package and shows it, without our code."]
    for finding in findings:
        comment = re.search(r"\A#!.*\n((?:#.*\n)+)", finding.read_text(encoding="utf-8"))
        text = textwrap.dedent("\n".join(line[1:] for line in comment.group(1).splitlines())) if comment else ""
        title = finding.stem.replace("_", " ").capitalize()
        sections.append(f"## {title}\n\n{text}\n\n`bash findings/{finding.name}`")
    return "\n\n".join(sections) + "\n"
