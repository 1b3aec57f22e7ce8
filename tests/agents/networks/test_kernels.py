"""Kernels are built once, looked at before they are loaded, and done without where they cannot be had."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents.networks import kernels
from agents.networks.gru import GRU, GRUConfig
from registry.errors import UserError

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def anew(monkeypatch, tmp_path):
    """As in a new process with an empty cache; the kernels of the other tests stay loaded beside."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    monkeypatch.delenv("CC", raising=False)
    kernels._found.cache_clear()
    kernels._kernels.cache_clear()
    yield tmp_path / "taskgen-metarl"
    kernels._found.cache_clear()
    kernels._kernels.cache_clear()


def _compiler(folder: Path, script: str) -> str:
    """The path of a compiler that is a shell script."""
    path = folder / "mycc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def _again() -> str:
    kernels._found.cache_clear()
    return kernels.told()


def test_built_once_and_again_where_it_is_another_or_was_damaged(anew, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", _compiler(tmp_path, f'echo built >> {tmp_path}/log; exec cc "$@"'))

    def built() -> int:
        return (tmp_path / "log").read_text().count("built")

    assert kernels.told().startswith("by kernels, ")
    (library,) = anew.glob("*.so")
    assert anew.stat().st_mode & 0o777 == 0o700
    assert (_again().startswith("by kernels"), built()) == (True, 1)
    content = library.read_bytes()
    library.unlink()  # the one that is loaded stays as it is
    library.write_bytes(content[:-1])
    assert (_again().startswith("by kernels"), built()) == (True, 2)
    source = tmp_path / "kernels.c"
    source.write_text(kernels.SOURCE.read_text() + "\n/* another version */\n")
    monkeypatch.setattr(kernels, "SOURCE", source)
    assert (_again().startswith("by kernels"), built()) == (True, 3)
    monkeypatch.setattr(kernels, "FLAGS", (*kernels.FLAGS, "-DANOTHER"))
    assert (_again().startswith("by kernels"), built()) == (True, 4)
    assert not [*anew.glob(".*")]


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no-such-compiler", "there is no C compiler no-such-compiler; install one, or name one in CC"),
        ("", "there is no C compiler ; install one"),
        ("false", "false failed on kernels.c"),
        ("true", "file too short"),  # says that all went well, and has written nothing
    ],
)
def test_without_a_compiler_networks_do_without_and_it_is_said_once(compiler, reason, monkeypatch, caplog):
    monkeypatch.setenv("CC", compiler)
    network, inputs = GRU(GRUConfig(hidden_size=4), input_size=3), torch.randn(5, 2, 3)
    with caplog.at_level(logging.WARNING):
        found = network.sequence(inputs)
        network.sequence(inputs)
    assert torch.equal(found, network.gru(inputs, torch.zeros(1, 2, 4))[0])
    (message,) = caplog.messages
    assert reason in message
    assert "results are the same up to rounding" in message
    assert reason in kernels.told()
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    with pytest.raises(UserError, match="TASKGEN_KERNELS=compiled, but networks are computed by torch"):
        network.sequence(inputs)


def test_the_variable(monkeypatch, caplog):
    network, inputs = GRU(GRUConfig(hidden_size=4), input_size=3), torch.randn(5, 2, 3)
    monkeypatch.setenv(kernels.VARIABLE, "torch")
    monkeypatch.setenv("CC", "no-such-compiler")  # nobody asks for it
    assert torch.equal(network.sequence(inputs), network.gru(inputs, torch.zeros(1, 2, 4))[0])
    assert not caplog.messages
    assert kernels.told() == "by torch, as TASKGEN_KERNELS says"
    monkeypatch.setenv(kernels.VARIABLE, "of course")
    with pytest.raises(UserError, match="TASKGEN_KERNELS=of course: it is torch or compiled"):
        network.sequence(inputs)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "Not a directory" in kernels.told()


def test_a_cache_that_others_may_write_is_not_loaded_from(anew):
    anew.mkdir()
    anew.chmod(0o777)
    assert "may be written to by others" in kernels.told()


def test_a_view_with_gaps_is_no_argument_of_a_kernel(monkeypatch):
    found = kernels._found()
    assert isinstance(found, kernels.Kernels)
    assert [found.padded(size) for size in (0, 1, found.lanes, found.lanes + 1)] == [
        0,
        found.lanes,
        found.lanes,
        2 * found.lanes,
    ]
    with pytest.raises(ValueError, match=r"strides \(1, 2\)"):
        found.call("lanes", torch.zeros(3, 2).t())
    with pytest.raises(TypeError, match="at least 8 arguments"):
        found.call("narrow_forward", 1, 2, 3)


def test_many_processes_build_at_once(anew):
    command = [sys.executable, "-c", "from agents.networks.kernels import told; print(told())"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert {process.communicate(timeout=300)[0].split(",")[0] for process in running} == {"by kernels"}
