"""The agent conformance kit over every agent of the catalogue, on every family it fits."""

import copy
import importlib
import re

import pytest

import registry
from agents.testing import check_agent, check_take_over
from taskgen.build import build_family


def _pairs():
    catalogue = registry.catalogue()
    for agent in catalogue.items("agents"):
        for family in catalogue.items("families"):
            anybodys = family.entry.name in ("gymnasium", "parallel")
            numbers = anybodys and "continuous-actions" in agent.entry.needs
            if not catalogue.incompatibilities([agent, family]) and not numbers:  # their examples have choices
                yield pytest.param(agent.full_name, family.full_name, id=f"{agent.entry.name}-{family.entry.name}")


def _short_episodes(family):
    """Settings with a horizon of 5 where episodes are longer than 50: the protocol shows as well in short ones."""
    adjustable = "horizon" in registry.catalogue().get("families", family).config_class().model_fields
    return {"horizon": 5} if adjustable and build_family(family).horizon > 50 else {}


@pytest.mark.parametrize(("agent", "family"), list(_pairs()))
def test_agent_follows_the_protocol(agent, family):
    check_agent(agent, family=family, family_settings=_short_episodes(family))


def test_every_agent_fits_some_family():
    fitting = {values[0] for values in (parameters.values for parameters in _pairs())}
    assert fitting == {item.full_name for item in registry.catalogue().items("agents")}


def test_every_agent_that_learns_says_what_it_plays_when_it_is_judged():
    """In the module's text: the policy's draws, its mean, or itself without the noise of training."""
    silent = [
        item.entry.name
        for item in registry.catalogue().items("agents")
        if item.entry.target.startswith("agents.")
        and {"on-policy", "off-policy"} & set(item.entry.tags)
        and not re.search(r"is\s+judged", importlib.import_module(item.entry.target.partition(":")[0]).__doc__ or "")
    ]
    assert silent == []


@pytest.mark.parametrize("network", [item.full_name for item in registry.catalogue().items("networks")])
@pytest.mark.parametrize(("memory", "reward_input"), [("trial", "raw"), ("episode", "raw"), ("trial", "standardised")])
def test_rl2_with_every_network(network, memory, reward_input):
    settings = {"network": network, "memory": memory, "reward_prediction": 1.0, "reward_input": reward_input}
    cued = "cue" in registry.catalogue().get("networks", network).entry.needs
    family, small = ("barcode-bandit", {"situations": 2}) if cued else ("tabular-mdp", {})
    check_agent("rl2", settings, family=family, family_settings=small)


@pytest.mark.parametrize("agent", ["maml", "promp", "reptile", "maesn", "epg", "ppo-from-scratch"])
@pytest.mark.parametrize("family", ["point-navigation", "grid-navigation"])
def test_agents_that_adapt_between_rounds(agent, family):
    """Three rounds of two episodes; by default three episodes are one round."""
    check_agent(agent, {"trajectories": 2}, family=family, family_settings=_short_episodes(family), episodes=6)


@pytest.mark.parametrize("family", ["point-navigation", "grid-navigation"])
def test_meta_gradients_within_trials(family):
    settings = {"lifetime": "trial", "trajectories": 2, "eta": "state"}
    check_agent("meta-gradient", settings, family=family, family_settings=_short_episodes(family), episodes=6)


TINY = {"hidden": [4]}
INNER = {**TINY, "trajectories": 1, "inner_norm": 0.1}
OFF_POLICY = {**TINY, "warm_up": 0, "updates_per_step": 0.1, "batch": 8, "capacity": 100}
LATENT = {**OFF_POLICY, "encoder_hidden": [4], "meta_batch": 2, "tasks": 8, "recent": 4}
EMBEDDED = {
    **TINY,
    "warm_up": 0,
    "updates_per_step": 0.1,
    "batch": 4,
    "epsilon_episodes": 2,
    "neighbours": 2,
    "n_step": 2,
}
BELIEF = {"epochs": 2, "minibatches": 1, "encoder_updates": 2, "gradient_norm": 0.01, "encoder_norm": 0.01}
EVOLVED = {**INNER, "pairs": 1, "steps": 1, "guided": 2, "channels": [2, 2], "context_width": 2, "loss_width": 2}
VARIANTS = {
    "dqn": [{**OFF_POLICY, "learning_rate": 0.1, "epsilon_steps": 500, "n_step": 2, "target_updates": 1}],
    "dream": [{**OFF_POLICY, "width": 4, "bottleneck": 1.0, "epsilon_steps": 500, "n_step": 2, "target_updates": 1}],
    "epg": [EVOLVED],
    "ppo-from-scratch": [INNER],
    "es": [TINY, {**TINY, "normalise": True}],
    "ppo": [{**TINY, "epochs": 3, "minibatches": 1, "learning_rate": 0.1}],
    "rl2": [{"epochs": 2, "minibatches": 1, "reward_prediction": 1.0, "normalize": True}],
    "mfec": [{"neighbours": 2, "width": 4, "epsilon_episodes": 2}],
    "nec": [EMBEDDED],
    "sac": [OFF_POLICY, {**OFF_POLICY, "temperature": 0.5}],
    "pearl": [LATENT, {**LATENT, "target_entropy": -1.0}],
    "maml": [{**INNER, "conjugate_steps": 2}],
    "maesn": [
        {**INNER, "epochs": 2, "learning_rate": 0.1, "clip": 0.01, "std": 0.5},
        {**INNER, "epochs": 2, "learning_rate": 0.1, "adapt_policy": True},
    ],
    "promp": [{**INNER, "epochs": 2, "learning_rate": 0.1, "adaptive": adaptive} for adaptive in (False, True)],
    "reptile": [INNER],
    "meta-gradient": [
        {**TINY, "inner_norm": 0.1},
        {**INNER, "lifetime": "trial", "learned": "trace", "derivative_trace": 0.5, "outer_value": 1.0},
        {**TINY, "updates": 2, "learned": "discount", "derivative_trace": 0.5, "bootstrap": 2},
    ],
    "varibad": [BELIEF],
    "prediction-gain": [{**BELIEF, "informed_updates": 2, "informed_batch": 8}],
    "hyperx": [{**BELIEF, "novelty_hidden": [4], "novelty_batch": 8}],
}
"""Settings by which all of an agent's numbers act, and few of which take long."""
SLOW = VARIANTS.keys() - {"ppo"}
"""Agents with so many numbers that trying each takes long."""


def test_the_kit_names_an_agent_that_is_not_left_as_it_is_when_it_is_judged(monkeypatch):
    def frozen(agent):
        player = copy.copy(agent)
        player.trains, player.reseed = False, agent.reseed
        return player

    monkeypatch.setattr("agents.epg.EPG.frozen", frozen)
    said = r"playing .* changes its state: /generator\n.* reseeding .* changes its state: /generator, what is no tensor"
    with pytest.raises(AssertionError, match=said):
        check_agent("epg", EVOLVED, family="grid-navigation")


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in (item.entry.name for item in registry.catalogue().items("agents"))
    ],
)
def test_heirs_play_by_their_own_settings_and_streams(agent):
    catalogue = registry.catalogue()
    item = catalogue.get("agents", agent)
    fitting = [family for family in catalogue.items("families") if not catalogue.incompatibilities([item, family])]
    varied = ("point-navigation", "grid-navigation")  # in a bandit there is nothing to see
    family = next((one for name in varied for one in fitting if one.entry.name == name), fitting[0]).full_name
    short = {"horizon": 5} if family.endswith("point-navigation") else _short_episodes(family)
    check_take_over(agent, VARIANTS.get(agent, [{}]), family=family, family_settings=short, episodes=3)
