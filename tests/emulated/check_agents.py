"""Every agent and reference player on the emulated device: no mix-up of devices, and how often the host waits."""

import pytest
import torch

import registry
from agents.evaluation.play import play
from agents.testing import check_agent, check_spaces
from agents.training import checkpoint
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from tests.emulated import device
from tests.emulated.catalogue import AGENTS, LEARNED, Watched, quick, small, variants, worlds

device.install()

LEARN_SYNCS = {
    "builtin/dqn": (8, "columns of the steps that were played, by mask; the log"),
    "builtin/dream": (2, "how many steps were played; the log"),
    "builtin/epg": (3, "what came of lives; which pairs are complete; the log"),
    "builtin/es": (4, "four figures for the log"),
    "builtin/hyperx": (11, "as varibad, and by mask what was visited; the log of the bonuses"),
    "builtin/maesn": (9, "tasks that have no number yet, by mask, and two looks at each; two baselines; the log"),
    "builtin/maml": (46, "ten conjugate gradients, two for each of fifteen line searches, two baselines, the log"),
    "builtin/meta-gradient": (1, "the log"),
    "builtin/mfec": (1, "the log"),
    "builtin/nec": (2, "how many steps were played and what the tables hold; the log"),
    "builtin/pearl": (26, "five masks for each of four tasks, one for each of four updates, the pace and its log"),
    "builtin/ppo": (9, "rows of the steps that were played, by mask; the log"),
    "builtin/prediction-gain": (30, "as varibad, for two policies; columns of what was played, by mask; three logs"),
    "builtin/promp": (8, "two baselines, the log"),
    "builtin/reptile": (5, "two baselines, the log"),
    "builtin/rl2": (1, "the log"),
    "builtin/sac": (7, "columns of the steps that were played, by mask; the log"),
    "builtin/varibad": (9, "five columns of the steps that were played and two for their spread, by mask; two logs"),
}
"""By learned agent: the most syncs of one `learn` under `quick` settings, and what they are for. Default: none."""
ADAPT_SYNCS = 1
"""The most syncs of one `adapt`: whether the baseline's normal equations could be solved."""
STEP_SYNCS = {
    **dict.fromkeys(
        ("builtin/psrl", "builtin/opsrl", "builtin/beb", "builtin/posterior-greedy"),
        (1, "whether an episode begins anywhere, and with it the planning: dearer than a look"),
    ),
}
"""By reference player: the most syncs of a step once trials are under way, and what they are for. Default: none."""
EPISODES, TASKS, HORIZON = 4, 4, 4
CUED = "builtin/barcode-bandit"
PLAYERS = [item for item in AGENTS if item not in LEARNED]


def named(item):
    return item.entry.name


def pairs(items):
    for item in items:
        for family in worlds(item):
            yield pytest.param(item, family, id=f"{named(item)}-{family.partition('/')[2]}")


def settings_of(item):
    return quick(item) if item in LEARNED else {}


def on_the_device(item, family, settings, where=device.NAME):
    problem = problem_of(family, episodes=EPISODES, seed=3, device=torch.device(where), updates=4)
    return build_agent(Part.model_validate({"name": item.full_name, **settings}), problem)


def played(agent, family, seed):
    specs = [family.spec(seed=seed + number) for number in range(TASKS)]
    plan = agent.plan(EPISODES)
    return collect(agent, family.batch(TASKS * plan.slots, device.NAME), specs, plan=plan)


@pytest.mark.parametrize(("item", "family"), list(pairs(AGENTS)))
def test_the_agent_keeps_the_protocol(item, family):
    adjustable = "horizon" in registry.catalogue().get("families", family).config_class().model_fields
    check_agent(
        item.full_name,
        settings_of(item),
        family=family,
        family_settings={"horizon": HORIZON} if adjustable else {},
        episodes=EPISODES,
        device=device.NAME,
    )


@pytest.mark.parametrize(("item", "family"), list(pairs(LEARNED)))
def test_what_is_learned_travels_by_way_of_the_host(item, family, tmp_path):
    """An agent restored from a checkpoint, whose tensors lie on the CPU, plays and learns as the one that was saved."""
    tasks = small(family, HORIZON)
    agent, fresh = (on_the_device(item, tasks, quick(item)) for _ in range(2))
    agent.learn(played(agent, tasks, 0))
    fresh.load_state_dict(checkpoint.load(checkpoint.save(tmp_path, agent.state_dict(), iteration=1)))
    one, other = played(agent, tasks, 10), played(fresh, tasks, 10)
    assert torch.equal(one.rollout.action, other.rollout.action)
    assert agent.learn(one) == fresh.learn(other)


@pytest.mark.parametrize(("item", "family"), list(pairs(LEARNED)))
def test_acting_never_waits_and_learning_no_more_than_it_did(item, family):
    tasks = small(family, HORIZON)
    agent = Watched(on_the_device(item, tasks, quick(item)))
    for turn in range(3):
        agent.learn(played(agent, tasks, 10 * turn))
    for ledger in agent.ledgers["act"]:
        assert not ledger.syncs
        assert not ledger.uploads
    most, reason = LEARN_SYNCS.get(item.full_name, (0, "none are known"))
    for ledger in agent.ledgers["learn"][1:]:
        assert ledger.syncs.total() <= most, (reason, ledger.syncs.most_common())
    for ledger in agent.ledgers["adapt"]:
        assert ledger.syncs.total() <= ADAPT_SYNCS, ledger.syncs
        assert not ledger.uploads


def cued(settings):
    """Whether a network among the parts that `settings` name needs a cue."""
    parts = [value["name"] for value in settings.values() if isinstance(value, dict)]
    return any("cue" in registry.catalogue().get("networks", part).entry.needs for part in parts)


@pytest.mark.parametrize(
    ("item", "settings"),
    [pytest.param(item, settings, id=f"{named(item)}-{settings}") for item in LEARNED for settings in variants(item)],
)
def test_whatever_its_settings(item, settings):
    tasks = small(CUED if cued(settings) else worlds(item)[-1], HORIZON)
    agent = Watched(on_the_device(item, tasks, {**quick(item), **settings}))
    for turn in range(2):
        agent.learn(played(agent, tasks, 10 * turn))
    assert not any(ledger.syncs for ledger in agent.ledgers["act"])


@pytest.mark.parametrize("item", [item for item in LEARNED if "image" in item.config_class().model_fields], ids=named)
def test_acting_on_images_never_waits(item):
    tasks = build_family("catch", {"observation": "board", "rows": HORIZON + 1})
    image = {"image": {"convolutions": [{"filters": 2}], "features": 4}}
    agent = Watched(on_the_device(item, tasks, {**quick(item), **image}))
    for turn in range(2):
        agent.learn(played(agent, tasks, 10 * turn))
    assert not any(ledger.syncs for ledger in agent.ledgers["act"])


@pytest.mark.parametrize(("item", "family"), list(pairs(PLAYERS)))
def test_players_score_what_they_score_on_the_cpu(item, family):
    tasks = small(family, HORIZON)
    specs = [tasks.spec(seed=seed) for seed in range(TASKS)]
    here, there = (
        play(on_the_device(item, tasks, {}, where), tasks, specs, EPISODES, where) for where in (device.NAME, "cpu")
    )
    assert (here == there).all() or (device.REAL and here.shape == there.shape)  # a card draws numbers of its own


@pytest.mark.parametrize(("item", "family"), list(pairs(PLAYERS)))
def test_players_wait_at_the_start_of_a_trial_alone(item, family):
    tasks = small(family, HORIZON)
    player = Watched(on_the_device(item, tasks, {}))
    played(player, tasks, 0)
    most, reason = STEP_SYNCS.get(item.full_name, (0, "none are known"))
    for ledger in player.ledgers["act"][2:]:
        assert ledger.syncs.total() <= most, (reason, ledger.syncs)
        assert not ledger.uploads


@pytest.mark.parametrize("name", ["rl2"])
def test_every_space_is_played_on_the_device(name):
    item = registry.catalogue().get("agents", name)
    refused = check_spaces(item.full_name, settings_of(item), episodes=EPISODES, device=device.NAME)
    assert not refused
