"""Model files as texts of tasks: the same model, and its meshes an artefact."""

import struct
import warnings
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from PIL import Image

import taskgen
from plugins.families.mujoco_any import MujocoAny, MujocoAnyConfig
from registry.cli import main
from registry.errors import TaskError
from taskgen import artefacts
from taskgen.engines.mjcf import compile_mjcf
from taskgen.engines.mjcf_files import embed
from taskgen.taskset import TaskSet

MAIN = """<mujoco model="arm">
  <compiler meshdir="meshes" texturedir="meshes"/>
  <include file="parts.xml"/>
  <asset>
    <mesh name="tip" file="tip.stl" scale="0.1 -0.2 0.3333333333333333"/>
    <texture name="wood" type="2d" file="wood.png"/><material name="wood" texture="wood"/>
  </asset>
  <worldbody>
    <replicate count="3" offset="0 1 0"><geom type="box" size="0.1234567890123 0.1 0.1"/></replicate>
    <body name="arm" pos="0 0 1"><joint name="swing" axis="0 1 0" damping="0.1234567890123456"/>
      <geom type="mesh" mesh="tip" pos="0.1 0.2 0.3" euler="10 20 30" material="wood"/></body>
  </worldbody>
  <actuator><motor joint="swing" gear="3" ctrlrange="-1 1"/></actuator>
</mujoco>"""
PARTS = '<mujocoinclude><worldbody><geom name="floor" type="plane" size="1 1 .1"/></worldbody></mujocoinclude>'
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
FACES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in three files, of a mesh, a picture and the rest; the working directory."""
    (tmp_path / "meshes").mkdir()
    (tmp_path / "arm.xml").write_text(MAIN)
    (tmp_path / "parts.xml").write_text(PARTS)
    triangles = b"".join(struct.pack("<12fH", 0, 0, 0, *CORNERS[list(face)].ravel(), 0) for face in FACES)
    (tmp_path / "meshes" / "tip.stl").write_bytes(b"\0" * 80 + struct.pack("<I", len(FACES)) + triangles)
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[:2] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "meshes" / "wood.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_meshes_the_text_compiles_to_the_bits_of_the_file(folder):
    (folder / "arm.xml").write_text(
        MAIN.replace('type="mesh" mesh="tip"', 'size="0.05"')
        .replace("<mesh ", "<!-- ")
        .replace('0.3333333333333333"/>', "-->")
    )
    text, name = embed(folder / "arm.xml")
    assert name == ""
    plain, model = mujoco.MjModel.from_xml_path(str(folder / "arm.xml")), compile_mjcf(text)
    for array in dir(plain):
        if array.startswith(("body_", "geom_", "jnt_", "dof_", "actuator_", "qpos")) and array != "geom_rgba":
            np.testing.assert_array_equal(getattr(model, array), getattr(plain, array), err_msg=array)


def test_meshes_become_an_artefact_of_the_same_solid(folder):
    text, name = embed(folder / "arm.xml")
    assert "file" not in text
    plain, model = mujoco.MjModel.from_xml_path(str(folder / "arm.xml")), compile_mjcf(text, artefact=name)
    # a tetrahedron of legs 0.1, 0.2 and 1/3 has the volume of a sixth of their product, and water's density
    np.testing.assert_allclose(model.body_mass[1], 1000 * 0.1 * 0.2 / 3 / 6, rtol=1e-6)
    for array in ("body_mass", "body_inertia", "body_ipos", "geom_pos", "geom_size"):
        np.testing.assert_allclose(getattr(model, array), getattr(plain, array), rtol=1e-5, atol=1e-7, err_msg=array)
    turn = np.abs((model.geom_quat * plain.geom_quat).sum(1))
    np.testing.assert_allclose(turn, 1.0, rtol=1e-6)
    corners = artefacts.load(name).tensors["tip/vertex"]
    expected = CORNERS * [0.1, -0.2, 1 / 3]
    apart = np.linalg.norm(corners[:, None] - expected[None], axis=-1)
    assert (apart.min(0) < 1e-6).all()
    assert len(corners) == 4
    np.testing.assert_allclose(model.tex_data[:3], [100, 50, 25], atol=1)  # the mean colour


def test_a_task_of_a_file_goes_with_its_meshes(folder, tmp_path, monkeypatch):
    words = ["generate", "domain-randomization", "--family", "mujoco-any", "-n", "2", "-o", "there/t.jsonl"]
    (folder / "there").mkdir()
    assert main([*words, "family.model=arm.xml", "family.frame_skip=2"]) == 0
    elsewhere = tmp_path / "elsewhere"
    (folder / "there").rename(elsewhere)
    for path in (folder / "artefacts").iterdir():
        path.unlink()
    artefacts.load.cache_clear()
    compile_mjcf.cache_clear()
    monkeypatch.setattr(artefacts, "_known", {})
    spec = TaskSet.read(elsewhere / "t.jsonl")[0]
    assert spec.context["frame_skip"] == 2
    assert taskgen.make(spec).reset(seed=0)[0].shape == (2,)
    (elsewhere / "artefacts" / f"{spec.context['artefact']}.safetensors").unlink()
    artefacts.load.cache_clear()
    assert "is missing" in artefacts.problems(spec)[0]


def test_only_the_command_line_reads_files(folder, capsys):
    message = "tasks and experiment files hold the model itself.*family.model=FILE.xml.*embed"
    with pytest.raises(TaskError, match=message):
        MujocoAnyConfig(model="arm.xml")
    words = ["generate", "domain-randomization", "--family", "mujoco-any", "-o", "t.jsonl"]
    assert main([*words, "family.model=nowhere.xml"]) == 4
    assert "nowhere.xml" in capsys.readouterr().err


def test_on_the_command_line_a_warning_is_a_sentence(folder, capsys):
    words = ["generate", "domain-randomization", "--family", "mujoco-any", "-o", "t.jsonl", "family.model=Reacher-v5"]
    assert main([*words, 'family.fields=["gravity"]']) == 0
    said = capsys.readouterr().err
    assert "warning: builtin/mujoco-any: gravity changed nothing in a trial at half and twice" in said
    assert ".py:" not in said


def test_an_experiment_on_the_command_line_takes_a_file(folder):
    from agents.training.experiment import load_experiment

    players = ["agent=random", 'evaluation.players=["random"]']
    plan = load_experiment("rl2-bandit", ["family=mujoco-any", "family.model=arm.xml", *players])
    settings = plan.config.family.settings
    assert settings["model"].startswith("<mujoco")
    assert settings["paid"] == "com.arm"
    assert artefacts.load(settings["artefact"]).tensors["tip/face"].shape == (4, 3)


def test_a_run_keeps_the_meshes_of_its_model(folder, monkeypatch):
    from agents.training.experiment import load_experiment
    from agents.training.run import RunDirectory

    players = ["agent=random", 'evaluation.players=["random"]']
    plan = load_experiment("rl2-bandit", ["family=mujoco-any", "family.model=arm.xml", *players])
    RunDirectory(folder / "run").create(plan)
    for path in (folder / "artefacts").iterdir():
        path.unlink()
    artefacts.load.cache_clear()
    compile_mjcf.cache_clear()
    monkeypatch.setattr(artefacts, "_known", {})
    assert RunDirectory(folder / "run").open().config == plan.config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tip/vertex": CORNERS.astype(np.float64)}, "expected finite float32"),
        ({"tip/vertex": CORNERS * np.float32(np.nan)}, "expected finite float32"),
        ({"tip/face": np.array([[0, 1, 4]], dtype=np.int32)}, "vertices that it does not have"),
        ({"tip/face": np.array([[0, 1, -1]], dtype=np.int32)}, "vertices that it does not have"),
        ({"tip/face": np.array([0, 1, 2], dtype=np.int32)}, "int32 faces"),
    ],
)
def test_an_artefact_that_holds_no_mesh_is_refused(folder, change, message):
    text, name = embed(folder / "arm.xml")
    altered = artefacts.save(artefacts.Artefact({**artefacts.load(name).tensors, **change}, {}))
    with pytest.raises(TaskError, match=message):
        compile_mjcf(text, artefact=altered)


def test_a_mesh_without_its_artefact_says_so(folder):
    text, _ = embed(folder / "arm.xml")
    with pytest.raises(TaskError, match="meshes of files are an artefact"):
        compile_mjcf(text)


def test_height_fields_of_files_are_written_out(folder):
    heights = np.arange(12, dtype=np.float32).reshape(3, 4)
    (folder / "meshes" / "hill.bin").write_bytes(struct.pack("<2i", 3, 4) + heights.tobytes())
    text = """<mujoco><asset><hfield name="hill" size="1 1 2 .1" file="meshes/hill.bin"/></asset><worldbody>
      <geom type="hfield" hfield="hill"/><body><joint/><geom size=".1"/></body></worldbody></mujoco>"""
    (folder / "hill.xml").write_text(text)
    plain, (text, _) = mujoco.MjModel.from_xml_path(str(folder / "hill.xml")), embed(folder / "hill.xml")
    np.testing.assert_array_equal(compile_mjcf(text).hfield_data, plain.hfield_data)
    np.testing.assert_allclose(plain.hfield_data, np.arange(12) / 11, rtol=1e-6)


def test_robots_of_other_formats_are_read_and_miss_what_they_lack(folder):
    inertia = '<inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/>'
    link = f'<link name="{{}}"><inertial><mass value="1"/>{inertia}</inertial></link>'
    joint = '<joint name="j" type="continuous"><parent link="a"/><child link="b"/><axis xyz="0 1 0"/></joint>'
    (folder / "arm.urdf").write_text(f'<robot name="r">{link.format("a")}{link.format("b")}{joint}</robot>')
    assert compile_mjcf(embed(folder / "arm.urdf")[0]).nv == 1
    with pytest.raises(TaskError, match="a body and an actuator"):
        MujocoAnyConfig(**MujocoAnyConfig.from_files({"model": "arm.urdf"}))


def test_a_file_that_is_not_there_is_told_with_its_place(folder):
    with pytest.raises(TaskError, match=r"nothere.xml: there is no such file: /.*nothere.xml$"):
        MujocoAnyConfig.from_files({"model": "nothere.xml"})


def test_it_steps(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = MujocoAnyConfig(**MujocoAnyConfig.from_files({"model": "arm.xml"}))
        family = MujocoAny(config, name="builtin/mujoco-any")
    batch = family.batch(2)
    batch.set_tasks([family.spec(), family.spec({"body_mass.*": 2.0})])
    first = batch.reset()
    assert (batch.step(torch.ones(2, 1)).observation != first).all()
