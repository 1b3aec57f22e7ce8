"""Shipped experiments: a file and an entry each."""

from importlib.resources import files

import registry
from agents.training.experiment import load_experiment


def test_every_file_is_in_the_catalogue_and_goes_by_its_name() -> None:
    there = {
        file.name.removesuffix(".toml") for file in files("agents.experiments").iterdir() if file.name[-5:] == ".toml"
    }
    listed = {item.entry.name for item in registry.catalogue().items("experiments")}
    assert there == listed
    assert all(load_experiment(name).config.name == name for name in there)
