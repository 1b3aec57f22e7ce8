"""The corpus of models: what belongs to it, its tables, and that what it promises still holds."""

import os
import zipfile
from pathlib import Path

import pytest

from benchmarks.model_corpus import PAGE, Model, corpus, find, meanings, put, shares, table, try_out, unpack

WHEELS = "TASKGEN_MODEL_WHEELS"
"""Folder of the downloaded wheels; `benchmarks.model_corpus` says which and how."""
ARM = """<mujoco><worldbody><body><joint name="j" axis="0 1 0" damping="1"/>
<geom size=".1" pos="0 0 .1"/></body></worldbody>
<actuator><motor joint="j"/></actuator></mujoco>"""


def test_what_belongs_to_the_corpus(tmp_path):
    inside = {
        "one/arm.xml": ARM,
        "one/again.xml": ARM,
        "one/idle.xml": "<mujoco><worldbody><body><joint/><geom size='1'/></body></worldbody></mujoco>",
        "one/part.xml": "<mujocoinclude/>",
        "two/deep/arm.xml": ARM.replace("motor", "position"),
    }
    with zipfile.ZipFile(tmp_path / "models-1.2-py3-none-any.whl", "w") as wheel:
        for name, text in inside.items():
            wheel.writestr(name, text)
    unpack(tmp_path, tmp_path / "there")
    found = [(package, path.stem) for package, path in find(tmp_path / "there") if "gymnasium" not in package]
    assert found == [("models-1.2", "again"), ("models-1.2", "arm")]


def test_gymnasium_s_own_models_are_all_taken(tmp_path):
    unpack(tmp_path, tmp_path / "there")
    models = [try_out(package, path, tmp_path) for package, path in find(tmp_path / "there")]
    assert len(models) >= 14
    assert {model.name: model.refusal for model in models if model.refusal} == {}
    assert next(model for model in models if model.name == "swimmer").knobs == ("body_mass.*", "actuator_gear.*")


def test_a_refusal_says_what_to_change(tmp_path):
    (tmp_path / "arm.xml").write_text(ARM.replace("<worldbody>", '<option timestep="2"/><worldbody>', 1))
    model = try_out("mine", tmp_path / "arm.xml", tmp_path)
    assert "<option timestep='2'>: 2 is not allowed; from 1e-06 to 1" in model.refusal
    (tmp_path / "arm.xml").write_text(ARM.replace('damping="1"', 'damping="-1e9"'))
    assert "give it a keyframe" in try_out("mine", tmp_path / "arm.xml", tmp_path).refusal


def test_the_table_and_the_shares_by_hand():
    models = [
        Model("b", "arm", 0, ("gravity",)),
        Model("b", "leg", 2, ("gravity",)),
        Model("b", "leg", 2, ("gravity",)),
        Model("a", "hand", 1, refusal="too large"),
    ]
    assert table(models).splitlines()[2:] == ["| a | hand | refused: too large |", "| b | arm, leg (2) | `gravity` |"]
    assert [(row["value"], row["met"]) for row in shares(models)] == [(1.0, True), (2 / 3, None), (0.75, True)]


def test_the_page_tells_what_fields_mean():
    page = PAGE.read_text(encoding="utf-8")
    assert put(page, "fields", meanings()) == page, "run `python -m benchmarks.model_corpus`"
    with pytest.raises(ValueError, match="nowhere:start"):
        put(page, "nowhere", "")


@pytest.mark.slow
def test_the_corpus_is_taken_as_the_page_says():
    if not (wheels := os.environ.get(WHEELS)):
        pytest.skip(f"{WHEELS} does not name the folder of the wheels; see benchmarks.model_corpus")
    models = corpus(Path(wheels))
    assert all(row["met"] is not False for row in shares(models))
    page = PAGE.read_text(encoding="utf-8")
    assert put(page, "models", table(models)) == page
