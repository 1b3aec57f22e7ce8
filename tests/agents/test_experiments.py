"""Shipped experiments: a file and an entry each."""

from importlib.resources import files

import registry
from agents.training.experiment import load_experiment


def test_every_file_is_in_the_catalogue_and_goes_by_its_name() -> None:
    there = {
        file.name.removesuffix(".toml") for file in files("agents.experiments").iterdir() if file.name[-5:] == ".toml"
    }
    catalogue = registry.catalogue()
    listed, absent = (
        {item.entry.name for item in found}
        for found in (catalogue.items("experiments"), catalogue.absent("experiments"))
    )
    assert there == listed | absent
    assert absent <= {"ml1-reach"}  # needs Meta-World, which is no part of the tests' environment
    assert all(load_experiment(name).config.name == name for name in listed)
