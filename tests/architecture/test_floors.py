"""What other people's libraries pin beside us: floors that are tested, and worlds in MuJoCo that say what they need."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_floors_that_are_tested_are_those_that_are_promised() -> None:
    """`make test-floors` runs the tests of the faces with them."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    promised = {name: least for entry in wanted for name, least in re.findall(r"^([\w-]+)>=([\d.]+)", entry)}
    (line,) = re.findall(r"^FLOORS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    tested = dict(pair.split("==") for pair in line.split())
    assert set(tested) == {"gymnasium", "pettingzoo", "mujoco"}
    for name, version in tested.items():
        assert re.fullmatch(rf"{re.escape(promised[name])}(\.0)*", version), name


def test_with_an_older_mujoco_its_worlds_say_what_they_need_and_all_others_work() -> None:
    code = (
        "import sys; sys.modules['mujoco.batch'] = None\n"
        "import taskgen\n"
        "print(taskgen.make(taskgen.build_family('bandit').spec()).reset(seed=0)[0].shape)\n"
        "try: taskgen.build_family('half-cheetah')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    first, second = done.stdout.splitlines()
    assert first == "(1,)"
    assert re.fullmatch(r"PluginError worlds in MuJoCo need mujoco 4 or newer, and [\d.]+ is installed: pip .*", second)
