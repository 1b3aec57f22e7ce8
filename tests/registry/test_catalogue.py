import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import registry
from registry.catalogue import Catalogue, build, entry_problem
from registry.cli import main
from registry.discovery import AUTOLOAD_VARIABLE, DISABLE_VARIABLE, FILES_VARIABLE, discover
from registry.entry import Entry
from registry.errors import ConfigError, PluginError, UserError

HEAD = "from registry import Entry, hookimpl\n"


def agent(name: str, **fields: object) -> str:
    extra = "".join(f", {key}={value!r}" for key, value in fields.items())
    return f"Entry({name!r}, 'collections:OrderedDict', 'A test agent.'{extra})"


def plugin(directory: Path, stem: str, body: str) -> Path:
    path = directory / f"{stem}.py"
    path.write_text(HEAD + body)
    return path


def registering(*entries: str, hook: str = "register_agents") -> str:
    return f"@hookimpl\ndef {hook}():\n    return [{', '.join(entries)}]\n"


def load(files: Iterable[Path] = (), **switches: str) -> Catalogue:
    return build(discover({FILES_VARIABLE: os.pathsep.join(map(str, files)), AUTOLOAD_VARIABLE: "1", **switches}))


def distribution(site: Path, name: str, entry_points: dict[str, str], version: str = "2.5") -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[taskgen]\n{lines}")


def test_builtins_load_under_their_provider() -> None:
    item = registry.catalogue().get("agents", "rl2")
    assert (item.kind, item.provider, item.full_name) == ("agents", "builtin", "builtin/rl2")
    assert item.version == "0.1.0"
    assert item.plugin.key == "taskgen-metarl:builtin-agents"
    assert item.plugin.file.endswith("plugin.py")
    assert registry.catalogue() is registry.catalogue()
    assert registry.catalogue().broken() == []


def test_full_and_short_names() -> None:
    catalogue = registry.catalogue()
    assert catalogue.get("families", "builtin/bandit") is catalogue.get("families", "bandit")


def test_unknown_name_points_to_the_nearest_and_to_broken_plugins(tmp_path: Path) -> None:
    catalogue = load([plugin(tmp_path, "bad_one", "raise RuntimeError('boom')")])
    with pytest.raises(UserError, match="'rl3' is not among the agents. Did you mean 'rl2'.*Not loaded: file:bad_one"):
        catalogue.get("agents", "rl3")
    with pytest.raises(UserError, match="Did you mean 'builtin/rl2'"):
        catalogue.get("agents", "builtin/rl3")
    with pytest.raises(UserError, match="no kind 'agent' of catalogue entry. Did you mean 'agents'"):
        catalogue.items("agent")


def test_ambiguous_short_name_names_both_and_shadows_nothing(tmp_path: Path) -> None:
    catalogue = load([plugin(tmp_path, "other", registering(agent("rl2"), agent("mine")))])
    with pytest.raises(UserError, match=re.escape("'rl2' is ambiguous among the agents: say 'builtin/rl2' or")):
        catalogue.get("agents", "rl2")
    assert catalogue.get("agents", "builtin/rl2").provider == "builtin"
    assert catalogue.get("agents", "other/rl2").provider == "other"
    assert catalogue.short_name(catalogue.get("agents", "mine")) == "mine"
    assert catalogue.short_name(catalogue.get("agents", "other/rl2")) == "other/rl2"


def test_installed_plugin_has_provider_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path, "their_plugin", registering(agent("theirs")))
    distribution(tmp_path, "Their.Tasks", {"main": "their_plugin"})
    monkeypatch.syspath_prepend(str(tmp_path))
    item = build(discover({})).get("agents", "theirs")
    assert (item.full_name, item.version) == ("their-tasks/theirs", "2.5")
    assert item.plugin.key == "their-tasks:main"
    assert item.plugin.file == str(tmp_path / "their_plugin.py")
    assert item.plugin.import_seconds > 0


def test_two_distributions_with_one_entry_point_name_both_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dist_one", "dist_two"):
        plugin(tmp_path, f"{name}_module", registering(agent("same")))
        distribution(tmp_path, name, {"main": f"{name}_module"})
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = build(discover({}))
    found = [item.full_name for item in catalogue.items("agents") if item.entry.name == "same"]
    assert found == ["dist-one/same", "dist-two/same"]


def test_entry_points_of_one_module_do_not_unregister_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(tmp_path, "twice_module", registering(agent("once")))
    distribution(tmp_path, "twice", {"a": "twice_module", "b": "twice_module"})
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = build(discover({}))
    assert {r.key: r.status for r in catalogue.plugins if r.provider == "twice"} == {
        "twice:a": "loaded",
        "twice:b": "failed",
    }
    assert catalogue.get("agents", "once").full_name == "twice/once"


def test_switches_disable_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path, "quiet_module", "raise SystemExit('imported')")
    distribution(tmp_path, "quiet", {"main": "quiet_module"})
    monkeypatch.syspath_prepend(str(tmp_path))

    def status(environment: dict[str, str]) -> dict[str, str]:
        return {record.provider: record.status for record in build(discover(environment)).plugins}

    assert status({})["quiet"] == "failed"
    assert status({DISABLE_VARIABLE: "other, quiet"})["quiet"] == "disabled"
    assert status({DISABLE_VARIABLE: "quiet:main"})["quiet"] == "disabled"
    assert status({AUTOLOAD_VARIABLE: "1"}) == {"quiet": "disabled", "builtin": "loaded"}
    assert status({AUTOLOAD_VARIABLE: "0"})["quiet"] == "failed"


def test_files_load_even_without_autoload_once_and_by_stem(tmp_path: Path) -> None:
    path = plugin(tmp_path, "single_file", registering(agent("lonely")))
    item = load([path, path]).get("agents", "lonely")
    assert (item.full_name, item.version, item.plugin.key) == ("single_file/lonely", "", "file:single_file")
    assert len([record for record in load([path, path]).plugins if record.provider == "single_file"]) == 1


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        ("json", "a module 'json' exists already"),
        ("torch", "a module 'torch' exists already"),
        ("not-python", "name the file like a Python module"),
        ("builtin", "the provider name 'builtin' belongs to taskgen-metarl"),
    ],
)
def test_file_names_that_cannot_work(tmp_path: Path, stem: str, reason: str) -> None:
    catalogue = load([plugin(tmp_path, stem, registering(agent("x")))])
    (record,) = catalogue.broken()
    assert reason in record.error


def test_two_files_of_one_stem_clash(tmp_path: Path) -> None:
    paths = [plugin(tmp_path, "twin", registering(agent("a")))]
    (tmp_path / "sub").mkdir()
    paths.append(plugin(tmp_path / "sub", "twin", registering(agent("b"))))
    (record,) = load(paths).broken()
    assert "the provider name 'twin' is taken by file:twin" in record.error


def test_missing_file_is_a_failed_plugin(tmp_path: Path) -> None:
    (record,) = load([tmp_path / "nowhere.py"]).broken()
    assert record.error == f"no such file: {tmp_path / 'nowhere.py'}"


def test_what_a_plugin_prints_stays_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load([plugin(tmp_path, "noisy", "print('hello')\n" + registering(agent("x")))])
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (Entry("Bad_Name", "a:b", "S."), "name = 'Bad_Name'"),
        (Entry("x/y", "a:b", "S."), "name = 'x/y'"),
        (Entry("x", "a.b", "S."), "target = 'a.b': expected \"package.module:Object\""),
        (Entry("x", "a:b", "S.", config="a b:C"), "config = 'a b:C'"),
        (Entry("x", "a:b", " "), "summary = ' '"),
        (Entry("x", "a:b", "S.", tags="word"), "tags = 'word': expected a tuple of words"),  # type: ignore[arg-type]
        (Entry("x", "a:b", "S.", needs=(1,)), "needs = (1,)"),  # type: ignore[arg-type]
        (Entry("x", "a:b", None), "summary = None: expected text"),  # type: ignore[arg-type]
    ],
)
def test_form_of_entries(entry: Entry, problem: str) -> None:
    assert problem in entry_problem(entry)
    assert entry_problem(Entry("good-name-2", "a.b:C.d", "One sentence.")) == ""


def test_duplicate_names_inside_a_provider_fail_the_plugin(tmp_path: Path) -> None:
    (record,) = load([plugin(tmp_path, "doubled", registering(agent("x"), agent("x")))]).broken()
    assert record.error == "registers two agents called 'x'"


def test_targets_are_loaded_late_and_errors_say_where(tmp_path: Path) -> None:
    body = registering(
        "Entry('no-module', 'surely.not.there:X', 'S.')",
        "Entry('no-object', 'collections:OrderedDit', 'S.')",
        "Entry('no-config', 'collections:OrderedDict', 'S.', config='collections:Counter')",
    )
    catalogue = load([plugin(tmp_path, "late", body)])
    assert catalogue.broken() == []
    with pytest.raises(PluginError, match=r"late/no-module \(agents, from .*late\.py\): there is no module 'surely'"):
        catalogue.get("agents", "no-module").load()
    with pytest.raises(PluginError, match="collections has no 'OrderedDit'. Did you mean 'OrderedDict'"):
        catalogue.get("agents", "no-object").load()
    with pytest.raises(PluginError, match="collections:Counter is not a subclass of registry.config.Config"):
        catalogue.get("agents", "no-config").config_class()


def test_a_target_that_lacks_a_package_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacks_package.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = load([plugin(tmp_path, "lacking", registering("Entry('x', 'lacks_package:X', 'S.')"))])
    with pytest.raises(PluginError, match="needs the package 'surely_not_installed', which is not installed"):
        catalogue.get("agents", "x").load()


def test_configure_and_build() -> None:
    item = registry.catalogue().get("families", "bandit")
    assert item.configure({"arms": 3}).model_dump()["arms"] == 3
    with pytest.raises(ConfigError, match=r"settings of builtin/bandit: 1 problem\n  - family\.arm: unknown key"):
        item.configure({"arm": 3}, prefix="family.")
    assert item.build({"arms": 3}, name=item.full_name).config.arms == 3


def test_entries_without_settings_take_none(tmp_path: Path) -> None:
    item = load([plugin(tmp_path, "plain", registering(agent("x")))]).get("agents", "x")
    assert item.configure({}).model_dump() == {}
    with pytest.raises(ConfigError, match="size: unknown key. There are no settings here"):
        item.configure({"size": 1})


def test_needs_and_offers(tmp_path: Path) -> None:
    body = registering(
        agent("a", needs=("red|blue", "round")), agent("b", offers=("blue",)), agent("c", offers=("round",))
    )
    catalogue = load([plugin(tmp_path, "shapes", body)])
    a, b, c = (catalogue.get("agents", name) for name in "abc")
    assert catalogue.incompatibilities([a, b, c]) == []
    assert catalogue.incompatibilities([a, b]) == [
        "shapes/a (agents) needs round, which no part of the plan offers; offered are: blue"
    ]
    assert len(catalogue.incompatibilities([a])) == 2


def test_a_family_that_says_nothing_of_its_actions_may_have_any_until_it_is_built(tmp_path: Path) -> None:
    needs = ("discrete-actions|continuous-actions",)
    agents = registering(agent("a", needs=needs), agent("b", needs=("bandit",)))
    families = (
        "\n\n@hookimpl\ndef register_task_families():\n"
        "    return [Entry('silent', 'x:X', 'Says nothing.', offers=('mutable',)),\n"
        "            Entry('mixed', 'x:X', 'Says it.', offers=('mixed-actions',))]\n"
    )
    catalogue = load([plugin(tmp_path, "worlds", agents + families)])
    a, b = (catalogue.get("agents", name) for name in "ab")
    silent, mixed = (catalogue.get("families", name) for name in ("silent", "mixed"))
    assert catalogue.incompatibilities([a, silent]) == []
    assert "worlds/b (agents) needs bandit" in catalogue.incompatibilities([b, silent])[0]
    assert "needs discrete-actions or continuous-actions" in catalogue.incompatibilities([a, mixed])[0]


OBSERVERS = """
seen = []

@hookimpl
def iteration_finished(iteration, metrics):
    if iteration == 2:
        raise ValueError("boom")
    seen.append((iteration, metrics))

@hookimpl
def run_finished(directory):
    seen.append(directory)

@hookimpl
def validate_run(plan):
    if plan == "raise":
        raise KeyError("plan")
    return ["too long"] if plan == "long" else None
"""


def test_a_raising_observer_is_switched_off_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [plugin(tmp_path, "fragile", OBSERVERS), plugin(tmp_path, "sturdy", OBSERVERS.replace("== 2", "== 99"))]
    catalogue = load(paths)
    fragile, sturdy = (record.module for record in catalogue.plugins if record.key.startswith("file:"))
    with caplog.at_level(logging.ERROR):
        for iteration in (1, 2, 3, 2):
            catalogue.notify("iteration_finished", iteration=iteration, metrics={})
        catalogue.notify("run_finished", directory="d")
    assert fragile.seen == [(1, {}), "d"]
    assert sturdy.seen == [(1, {}), (2, {}), (3, {}), (2, {}), "d"]
    (entry,) = caplog.records
    assert entry.getMessage() == "plugin file:fragile: observer iteration_finished failed and is switched off"
    assert "boom" in caplog.text


def test_plugins_may_refuse_a_plan(tmp_path: Path) -> None:
    catalogue = load([plugin(tmp_path, "critic", OBSERVERS)])

    def said(plan: Any) -> list[str]:
        """By the plugin: those that are built in look at what is no plan here."""
        return [problem for problem in catalogue.validate(plan) if not problem.startswith("taskgen-metarl:")]

    assert said("fine") == []
    assert said("long") == ["too long"]
    assert "file:critic: validate_run itself failed: KeyError" in said("raise")[0]


def test_an_absent_plugin_is_named_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"no plugin called 'mine' is here.*--plugin"):
        registry.catalogue().get("generators", "mine/corners")


def test_a_plugin_that_cannot_describe_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`taskgen describe` goes on."""
    found = registry.catalogue()
    item = found.get("networks", "lstm")

    def broken(kind: str, name: str) -> None:
        raise ValueError(f"no {kind} {name}")

    for implementation in found._manager.hook.describe_entry.get_hookimpls():
        monkeypatch.setattr(implementation, "function", broken)
    assert list(found.described(item).values()) == ["ValueError: no networks builtin/lstm"]


def test_a_hook_without_its_mark_is_told(tmp_path: Path) -> None:
    unmarked = "\n\ndef register_rewards():\n    return []\n"
    (record,) = [
        one for one in load([plugin(tmp_path, "half", registering(agent("a")) + unmarked)]).plugins if one.error
    ]
    assert (
        record.error == "register_rewards is not marked with @registry.hookimpl, so what it registers would be missing"
    )


def test_a_setting_that_would_take_the_parts_name_is_refused(tmp_path: Path) -> None:
    body = registering("Entry('a', 'collections:OrderedDict', 'A.', config='named:Named')")
    body += "\n\nfrom registry.config import Config\n\n\nclass Named(Config):\n    name: str = ''\n"
    item = load([plugin(tmp_path, "named", body)]).get("agents", "a")
    with pytest.raises(
        PluginError, match="named:Named has a setting `name`, which is what experiments call the part by"
    ):
        item.config_class()


def test_an_entry_that_lacks_its_package_is_not_listed_and_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = registering(agent("plain"), agent("rich", package="pluggy"), agent("poor", package="surely_absent"))
    path = plugin(tmp_path, "far", entries)
    catalogue = load([path])
    names = [item.full_name for item in catalogue.items("agents")]
    assert [name for name in names if name.startswith("far/")] == ["far/plain", "far/rich"]
    assert [item.full_name for item in catalogue.absent("agents|networks") if item.provider == "far"] == ["far/poor"]
    for name in ("poor", "far/poor"):
        with pytest.raises(UserError, match=r"far/poor needs the package surely_absent.*pip install 'surely_absent'"):
            catalogue.get("agents", name)
    monkeypatch.setenv(FILES_VARIABLE, str(path))
    assert main(["list", "agents"]) == 0
    assert "poor needs the package surely_absent, which is not installed" in capsys.readouterr().out
    assert main(["describe", "poor"]) == 2
    assert "pip install 'surely_absent'" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"'pooor' is not among the agents\. Did you mean 'poor'"):
        catalogue.get("agents", "pooor")


@pytest.mark.parametrize("package", [3, "absent.part", "name-of-a-wheel", ".absent", " "])
def test_a_package_is_what_is_imported(package: Any) -> None:
    """Others would be looked for by importing what is before the dot, or never be found."""
    assert f"package = {package!r}: expected" in entry_problem(Entry("x", "a:B", "One.", package=package))


def test_a_verb_that_lacks_its_package_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = registering(
        "Entry('poor-verb', 'collections:OrderedDict', 'S.', package='surely_absent')", hook="register_commands"
    )
    monkeypatch.setenv(FILES_VARIABLE, str(plugin(tmp_path, "far", made)))
    assert main(["poor-verb"]) == 2
    assert "far/poor-verb needs the package surely_absent" in capsys.readouterr().err
