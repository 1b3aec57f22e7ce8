"""What MJCF of a task may hold: what is harmless gets through, what is not is refused with a reason, and budgets."""

import pytest

from registry.errors import ConfigError, TaskError
from taskgen.engines.mjcf import check_mjcf, compile_mjcf
from taskgen.engines.mjcf_budget import BYTES, OPERATIONS, dofs, limit

BODY = "<body><joint name='j'/><geom name='g' size='1'/><site name='s'/></body>"


def model(inside: str = "", body: str = BODY) -> str:
    return f"<mujoco>{inside}<worldbody>{body}</worldbody></mujoco>"


@pytest.mark.parametrize("before", ["", "\n\n", "\ufeff", '\n<?xml version="1.0"?>\n', '\ufeff<?xml version="1.0"?>'])
def test_what_stands_before_the_model_is_no_matter(before):
    assert compile_mjcf(before + model()).nv == 1


@pytest.mark.parametrize("name", ["inf", "nan", "1e999", "Infinity-joint", "1_000", "٣", "0x10"])
def test_names_are_no_numbers(name):
    named = f"<body name='{name}'><joint name='{name}'/><geom size='1'/></body>"
    inside = f"<actuator><motor joint='{name}'/></actuator><custom><text name='{name}' data='nan inf'/></custom>"
    assert compile_mjcf(model(inside, named)).joint(0).name == name


@pytest.mark.parametrize("number", ["1", "-1", "+1.", ".5", "-.5e-3", "1E2"])
def test_numbers_as_c_writes_them_get_through(number):
    assert compile_mjcf(model(f"<option gravity='0 0 {number}'/>")).opt.gravity[2] == float(number)


@pytest.mark.parametrize(
    "number",
    ["1_000", "٣", "0x10", "inf", "-INF", "nan", "Infinity", "nan(3)", "infx", "1e400", "1,5", "1\u00a02", "--1"],
)
def test_numbers_that_c_and_python_read_differently_are_refused(number):
    with pytest.raises(TaskError, match=r"<option gravity=.*(C reads|not allowed)"):
        check_mjcf(model(f"<option gravity='0 0 {number}'/>"))


@pytest.mark.parametrize(
    "inside",
    [
        "<compiler meshdir='/anywhere' texturedir='there' assetdir='x'/>",
        "<asset><texture name='sky' type='skybox' builtin='gradient' width='800' height='4800'/></asset>",
        "<tendon><spatial width='.003'><site site='s'/><site site='t'/></spatial></tendon>",
        "<asset><hfield name='h' nrow='2' ncol='2' size='1 1 1 1' elevation='0 0 1 1'/></asset>",
        "<asset><mesh name='m' vertex='0 0 0  1 0 0  0 1 0  0 0 1'/></asset>",
        "<actuator><muscle joint='j' lengthrange='0 1'/></actuator>",
        "<actuator><cylinder joint='j'/><damper joint='j' ctrlrange='0 1'/></actuator>",
        "<actuator><intvelocity joint='j' actrange='-1 1'/></actuator>",
        "<actuator><adhesion body='b' ctrlrange='0 1'/></actuator>",
        "<sensor><clock/><rangefinder site='s'/><frameyaxis objtype='site' objname='s'/><e_kinetic/></sensor>",
        "<sensor><framexaxis objtype='body' objname='b'/><jointlimitpos joint='j'/><user dim='2'/></sensor>",
        "<custom><numeric name='n' size='3' data='1 2'/></custom>",
        "<custom><tuple name='t'><element objtype='body' objname='b'/></tuple></custom>",
        "<keyframe><key qpos='1'/></keyframe>",
    ],
    ids=lambda text: text[:30],
)
def test_the_harmless_gets_through(inside):
    joint = "<joint name='j' damping='1 2' range='-1 1' limited='true'/>"
    body = f"<site name='t'/><body name='b'>{joint}<geom size='1'/><site name='s'/></body>"
    assert compile_mjcf(model(inside, body)).nbody == 2


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("<include file='x.xml'/>", "reads other files.*family.model=FILE.xml"),
        ("<asset><mesh file='x.stl'/></asset>", "reads no files.*family.model=FILE.xml"),
        ("<asset><texture file='x.png' type='2d'/></asset>", "reads no files"),
        ("<asset><model file='x.xml'/></asset>", "reads other files"),
        ("<extension><plugin plugin='x'/></extension>", "loads code"),
        ("<worldbody><replicate count='2'><geom size='1'/></replicate></worldbody>", "multiplies"),
        ("<deformable><skin name='s'/></deformable>", "soft bodies have no budget"),
        ("<option><flag sleep='enable'/></option>", "sleep.*could not be repeated"),
        ("<option integrator='discrete'><flag ipc='enable'/></option>", "ipc.*could not be repeated"),
        ("<option timestep='0'/>", "timestep=.*time goes on in steps"),
        ("<unheard/>", "no element of MJCF that is known to be harmless"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_refused_is_refused_with_its_reason(inside, reason):
    with pytest.raises(TaskError, match=reason):
        compile_mjcf(model(inside))


def chain(joints: int, more: str = "") -> str:
    bodies = "<body><joint/><geom size='.1'/>" * joints + "</body>" * joints
    return model(more, bodies)


def muscles(actuators: str, search: str = "") -> str:
    """A limited joint, whose range is the muscles'."""
    body = BODY.replace("name='j'", "name='j' limited='true' range='-1 1'")
    settings = f"<compiler><lengthrange {search}/></compiler>" if search else ""
    return model(f"{settings}<actuator>{actuators}</actuator>", body)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (model("<asset><texture type='2d' name='t' builtin='flat' width='100' height='50'/></asset>"), 15_000 + 64),
        (model("<asset><texture type='skybox' name='t' builtin='flat' width='10' height='60'/></asset>"), 1800 + 64),
        (model("<asset><texture type='skybox' name='t' builtin='flat' width='10' height='10'/></asset>"), 1800 + 64),
        (model("<asset><hfield name='t' nrow='10' ncol='20' size='1 1 1 1'/></asset>"), 800 + 64),
        (model("<size memory='2M'/>"), 2 * 2**20 + 64),
        (model("<size njmax='100'/>"), 520_000 + 64),
        (model("<size nuserdata='1000'/>"), 8000 + 64),
        (model("<custom><numeric name='n' size='500'/></custom>"), 4000 + 64),
        (model("<size nkey='100'/>"), 100 * 8 * 4 * 9 + 64),
        (model("<size nuser_body='50'/>"), 50 * 8 * 7 + 64),  # for each of seven elements
        (model("<asset><mesh name='t' builtin='supersphere' params='10 1 1'/></asset>"), 200 * 10**2 + 64),
        (chain(10), 64 * 10**2),
    ],
    ids=[
        "2d",
        "skybox",
        "skybox side",
        "hfield",
        "memory",
        "njmax",
        "userdata",
        "numeric",
        "keys",
        "user",
        "mesh",
        "joints",
    ],
)
def test_bytes_have_a_budget_that_a_setting_raises(monkeypatch, text, asked):
    monkeypatch.setenv(BYTES, str(asked))
    compile_mjcf.cache_clear()
    compile_mjcf(text)
    monkeypatch.setenv(BYTES, str(asked - 1))
    compile_mjcf.cache_clear()
    with pytest.raises(TaskError, match=f"asks for {asked:,} bytes.*at most {asked - 1:,}.*{BYTES}"):
        compile_mjcf(text)


@pytest.mark.parametrize(
    ("text", "frame_skip", "asked"),
    [
        # dofs^3 once, then for each physics step 100 iterations over dofs^2 + 50 dofs, and 50 for each pair of geoms
        (chain(2), 1, 8 + 100 * (4 + 100) + 4 * 50),
        (chain(2), 7, 8 + 7 * (100 * (4 + 100) + 4 * 50)),
        (chain(2, "<option iterations='1000'/>"), 1, 8 + 1000 * (4 + 100) + 4 * 50),
        (chain(2, "<option noslip_iterations='10'/>"), 1, 8 + 110 * (4 + 100) + 4 * 50),
        (chain(2, "<option ls_iterations='70'/>"), 1, 8 + 100 * (4 + 140) + 4 * 50),
        (chain(2, "<option ccd_iterations='70'/>"), 1, 8 + 100 * (4 + 100) + 4 * 70),
        (chain(1, "<compiler><lengthrange inttotal='1' timestep='0.5'/></compiler>"), 1, 1 + 100 * 51 + 50),
        (muscles("<muscle joint='j' lengthrange='0 1'/>"), 1, 1 + 100 * 51 + 50),
        (muscles("<motor joint='j'/>"), 1, 1 + 100 * 51 + 50),
        (muscles("<muscle joint='j'/>"), 1, 1 + 100 * 51 + 50 + 2 * 1000 * 51),
        (muscles("<muscle joint='j'/>" * 2, "inttotal='5' timestep='.02'"), 1, 1 + 100 * 51 + 50 + 4 * 250 * 51),
    ],
    ids=[
        "plain",
        "frame_skip",
        "iterations",
        "noslip",
        "line search",
        "contacts",
        "no muscles",
        "stated",
        "motor",
        "muscle",
        "muscles",
    ],
)
def test_operations_of_a_step_have_a_budget_that_a_setting_raises(monkeypatch, text, frame_skip, asked):
    monkeypatch.setenv(OPERATIONS, str(asked))
    compile_mjcf.cache_clear()
    compile_mjcf(text, frame_skip)
    monkeypatch.setenv(OPERATIONS, str(asked - 1))
    compile_mjcf.cache_clear()
    with pytest.raises(TaskError, match=f"asks for {asked:,} operations a step.*at most {asked - 1:,}.*{OPERATIONS}"):
        compile_mjcf(text, frame_skip)


def test_the_budget_is_looked_at_before_mujoco_is(monkeypatch):
    compile_mjcf.cache_clear()
    monkeypatch.setenv(BYTES, "1")
    monkeypatch.setattr("taskgen.engines.mjcf.mujoco", None)
    with pytest.raises(TaskError, match="bytes"):
        compile_mjcf(model())


def test_a_limit_that_is_no_number_is_said(monkeypatch):
    monkeypatch.setenv(BYTES, "many")
    with pytest.raises(ConfigError, match=BYTES):
        limit(BYTES)


def test_degrees_of_freedom_are_never_undercounted():
    from xml.etree import ElementTree as ET

    body = "<body><freejoint/><geom size='1'/><body><joint/><joint type='ball'/><geom size='1'/></body></body>"
    assert dofs(ET.fromstring(model("", body))) == 6 + 1 + 3
    assert dofs(ET.fromstring(model("<default><joint type='ball'/></default>", body))) == 6 + 3 + 3
    assert dofs(ET.fromstring(model("<tendon><fixed><joint joint='j' coef='1'/></fixed></tendon>", body))) == 10
