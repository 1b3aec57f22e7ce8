"""Whatever is public says what it is: every module, class, function and method of the four packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("registry", "taskgen", "plugins", "agents")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "templates" not in path.parts)
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def classes() -> dict[str, list[ast.ClassDef]]:
    """Every class of the packages by its name, which several may share."""
    found: dict[str, list[ast.ClassDef]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


CLASSES = classes()


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition, ast.ClassDef | None]]:
    """Definitions without a leading underscore, with the class that they stand in, however deep in classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node, None
            if isinstance(node, ast.ClassDef):
                for name, inner, owner in public(node.body, f"{prefix}{node.name}."):
                    yield name, inner, owner or node


def words(node: Definition, owner: ast.ClassDef | None) -> str:
    """The docstring of a definition and those of the methods of our own classes that it overrides."""
    own = ast.get_docstring(node) or ""
    return own if owner is None else own + inherited(node.name, owner, frozenset())


def inherited(name: str, owner: ast.ClassDef, seen: frozenset[str]) -> str:
    """What the classes that `owner` derives from say of the method `name`."""
    found = ""
    for base in owner.bases:
        plain = base.value if isinstance(base, ast.Subscript) else base  # Base[Config] is Base
        called = plain.attr if isinstance(plain, ast.Attribute) else getattr(plain, "id", "")
        for parent in CLASSES.get(called, ()) if called not in seen else ():
            methods = [node for node in parent.body if isinstance(node, Definition) and node.name == name]
            found += "".join(ast.get_docstring(method) or "" for method in methods)
            found += inherited(name, parent, seen | {called})
    return found


def speaks_elsewhere(node: Definition) -> bool:
    """A property's setter speaks by its getter, an overload by what it overloads."""
    marks = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in node.decorator_list}
    return bool(marks & {"setter", "overload"})


def raises(node: ast.AST) -> bool:
    """Whether the body itself, and not only a function within, raises something new."""
    inner = [each for each in ast.iter_child_nodes(node) if not isinstance(each, Definition | ast.Lambda)]
    return any((isinstance(each, ast.Raise) and each.exc is not None) or raises(each) for each in inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_has_a_docstring_and_says_what_it_raises(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module"
    found = [each for each in public(tree.body) if not speaks_elsewhere(each[1])]
    assert not [name for name, node, owner in found if not words(node, owner)]
    if path.name != "commands.py" and path != ROOT / "registry" / "cli.py":  # theirs are the user's help
        functions = [each for each in found if not isinstance(each[1], ast.ClassDef)]
        loud = [(name, words(node, owner)) for name, node, owner in functions if raises(node)]
        assert not [name for name, text in loud if not any(word in text.lower() for word in ("raise", "refuse"))]
