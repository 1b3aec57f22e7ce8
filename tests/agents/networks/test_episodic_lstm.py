"""The episodic LSTM: what it writes when, what it finds again, what makes room; a step by hand."""

import math
from functools import partial

import pytest
import torch

from agents.networks.base import Inputs, build_network
from agents.networks.episodic_lstm import EpisodicLSTM, EpisodicLSTMConfig, _State
from agents.testing import check_agent
from agents.training.experiment import build_parts, load_experiment
from registry.config import Part
from registry.errors import ConfigError, UserError
from taskgen.interaction.collect import collect


def network(**settings):
    torch.manual_seed(0)
    return EpisodicLSTM(EpisodicLSTMConfig(hidden_size=4, **settings), inputs=Inputs(7, 3, (0, 2)))


def episode(cue, steps=3, first=False, seed=0):
    """[steps, 1, 7] inputs of an episode, what is seen and done drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(steps, 1, 7, generator=generator)
    inputs[..., 0], inputs[..., 2] = (float(bit) for bit in cue)
    inputs[..., -2:] = 0.0
    inputs[0, 0, -1 if first else -2] = 1.0
    return inputs


def unroll(model, *episodes, memory=None):
    memory, outputs = memory or model.initial(1), []
    for row in torch.cat(episodes):
        output, memory = model.step(row, memory)
        outputs.append(output)
    return torch.cat(outputs), _State(*memory)


def test_three_episodes_by_hand():
    """One unit; the number seen is the cue. Rows of the weights are g, i, f, o, r; columns seen, reward, two flags."""
    config = EpisodicLSTMConfig(hidden_size=1, capacity=2, delta=0.5, nothing=3.0)
    model = EpisodicLSTM(config, inputs=Inputs(4, 1, (0,)))
    weight = [
        [0.5, 1.0, 0.2, 0.1],
        [0.3, -0.4, 0.0, 0.2],
        [0.1, 0.6, 0.3, 0.0],
        [-0.2, 0.5, 0.0, 0.0],
        [0.7, 0.0, 0.4, 0.0],
    ]
    bias, recurrent = [0.1, -0.1, 0.2, 0.3, -0.3], [0.6, -0.5, 0.4, 0.2, 0.8]
    with torch.no_grad():
        model.of_input.weight.copy_(torch.tensor(weight))
        model.of_input.bias.copy_(torch.tensor(bias))
        model.of_hidden.weight.copy_(torch.tensor(recurrent)[:, None])

    def cell(x, h, c, m):
        sums = [sum(map(math.prod, zip(row, x, strict=True))) for row in weight]
        g, *gates = (one + k + v * h for one, k, v in zip(sums, bias, recurrent, strict=True))
        i, f, o, r = (1 / (1 + math.exp(-gate)) for gate in gates)
        c = f * c + i * math.tanh(g) + (0.0 if m is None else r * math.tanh(m))
        return o * math.tanh(c), c

    rows = [(2.0, 0.0, 0, 1), (2.0, 0.7, 0, 0), (1.0, -1.0, 1, 0), (2.0, 0.4, 1, 0)]
    h1, c1 = cell(rows[0], 0.0, 0.0, None)  # the dictionary is empty
    h2, c2 = cell(rows[1], h1, c1, None)
    _, first = cell((2.0, -1.0, 1, 0), h2, c2, None)  # how the first episode ended, in the place where it did
    kernel = 1 / (1.0 + 0.5)
    h3, c3 = cell((1.0, 0.0, 1, 0), 0.0, 0.0, kernel / (3.0 + kernel) * first)
    _, second = cell((1.0, 0.4, 1, 0), h3, c3, None)
    kernel = 1 / 0.5
    h4, _ = cell((2.0, 0.0, 1, 0), 0.0, 0.0, kernel / (3.0 + kernel) * first)
    outputs, state = unroll(model, torch.tensor(rows)[:, None])
    assert outputs[:, 0].tolist() == pytest.approx([h1, h2, h3, h4], abs=1e-6)
    assert state.keys[0, :, 0].tolist() == [2.0, 1.0]
    assert state.values[0, :, 0].tolist() == pytest.approx([first, second], abs=1e-6)


def test_looking_up_writes_nothing_and_an_end_writes_once():
    model = network(capacity=3)
    _, state = unroll(model, episode((1, 0), first=True))
    assert model.figures(state)["held"].tolist() == [0]
    _, later = unroll(model, episode((0, 1), steps=1, seed=1), memory=state)
    assert later.keys[0, 0].tolist() == [1.0, 0.0]
    for seed in range(2):  # further steps of the episode
        _, more = unroll(model, episode((0, 1), seed=seed)[1:], memory=later)
        assert torch.equal(more.keys, later.keys)
        assert torch.equal(more.values, later.values)
        assert model.figures(more)["held"].tolist() == [1]


def test_an_entry_with_the_same_cue_is_renewed():
    model = network(capacity=3)
    _, once = unroll(model, episode((1, 0), first=True), episode((0, 1), seed=1))
    _, twice = unroll(model, episode((1, 0), seed=2), episode((0, 1), seed=3), memory=once)
    assert model.figures(twice)["held"].tolist() == [2]
    assert not model.figures(twice)["evicted"].any()
    assert torch.equal(twice.keys[0, 0], once.keys[0, 0])
    assert not torch.equal(twice.values[0, 0], once.values[0, 0])


@pytest.mark.parametrize(("eviction", "left"), [("least-recently-used", [0, 2]), ("oldest", [1, 2])])
def test_what_makes_room(eviction, left):
    """Cues 0 and 1 fill the dictionary, cue 0 is found again while 5, which is nearest to it, is played; 2 comes."""
    model = network(capacity=2, eviction=eviction)
    cues = {0: (0, 0), 1: (9, 9), 2: (4, 1)}
    _, state = unroll(model, episode(cues[0], first=True), episode(cues[1]), episode(cues[2]), episode(cues[0]))
    assert sorted(state.keys[0].tolist()) == sorted([float(x) for x in cues[number]] for number in left)
    assert model.figures(state)["evicted"].tolist() == [1]
    assert model.figures(state)["held"].tolist() == [2]


def test_with_the_gate_at_zero_every_visit_is_a_first_one():
    visits = [episode((1, 0), seed=3), episode((0, 1), seed=5), episode((1, 0), seed=3)]
    for reinstate in (True, False):
        outputs, _ = unroll(network(reinstate=reinstate), *visits)
        assert torch.equal(outputs[:3], outputs[6:]) is not reinstate


def test_nothing_but_the_dictionary_goes_from_one_episode_to_the_next():
    """Another end of the episode before, in another situation that is far away, changes nothing."""
    model = network(nothing=1e9)
    one, other = (unroll(model, episode((5, 5), seed=seed), episode((0, 1), seed=9))[0] for seed in (1, 2))
    torch.testing.assert_close(one[3:], other[3:])


def test_what_is_found_again_is_trained():
    """Gradients of a second visit reach the first one's inputs, its last outcome included, and no other episode's."""
    model = network(nothing=1e6, delta=1e-9)
    visits = [episode((1, 0), first=True), episode((0, 1), seed=1), episode((1, 0), seed=2)]
    inputs = torch.cat(visits).requires_grad_()
    (slope,) = torch.autograd.grad(model.sequence(inputs)[6:].sum(), inputs)
    assert (slope[:3, 0, 1:].abs().sum(-1) > 1e-6).all()
    assert slope[3, 0, 3:5].abs().sum() > 1e-6  # action and reward that ended the first visit
    assert slope[4:6].abs().max() < 1e-6


def test_more_neighbours_than_places_are_refused():
    with pytest.raises(ValueError, match="neighbours = 5 of a dictionary for capacity = 4"):
        EpisodicLSTMConfig(neighbours=5, capacity=4)


@pytest.mark.parametrize("settings", [{"capacity": 1}, {"neighbours": 2, "eviction": "oldest"}])
def test_rl2_keeps_the_protocol_with_other_choices(settings):
    small = {"situations": 2, "pulls": 3, "arms": 3}
    part = {"network": {"name": "episodic-lstm", **settings}}
    check_agent("rl2", part, family="barcode-bandit", family_settings=small, episodes=5)


def test_pieces_begin_with_the_dictionary_of_the_trial():
    """Step and sequence agree where rows change episodes at different times, from any memory."""
    torch.manual_seed(4)
    model = network(capacity=2)
    inputs = torch.randn(40, 5, 7)
    inputs[..., [0, 2]] = torch.randint(0, 2, (40, 5, 2)).float()
    restart = torch.rand(40, 5) < 0.05
    memory, outputs = model.initial(5), []
    for row, cut in zip(inputs, restart, strict=True):
        memory = tuple(part * ~cut.view(-1, *(1,) * (part.ndim - 1)) for part in memory)
        output, memory = model.step(row, memory)
        outputs.append(output)
    torch.testing.assert_close(model.sequence(inputs, restart), torch.stack(outputs), rtol=1e-5, atol=1e-5)
    starts = model.memories(inputs, 16, restart)
    for number, start in enumerate(range(0, 40, 16)):
        piece = model.sequence(inputs[start:], restart[start:], tuple(part[number] for part in starts))
        torch.testing.assert_close(piece, torch.stack(outputs)[start:], rtol=1e-5, atol=1e-5)


def full(batch, seed=0):
    """[60, batch, 7] of 20 episodes of three steps with 6 cues, and how `network(capacity=3)` plays them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(20, 3, batch, 7, generator=generator)
    cues = torch.randint(0, 6, (20, 1, batch), generator=generator).expand(20, 3, batch)
    inputs[..., 0], inputs[..., 2] = 3.0 * (cues % 3), 3.0 * (cues // 3)
    inputs[..., -2:] = 0.0
    inputs[1:, 0, :, -2] = inputs[0, 0, :, -1] = 1.0
    model, inputs = network(capacity=3, nothing=0.1), inputs.flatten(0, 1)
    memory, outputs = model.initial(batch), []
    for row in inputs:
        output, memory = model.step(row, memory)
        outputs.append(output)
    assert (model.figures(memory)["evicted"] > 3).all()
    return model, inputs, torch.stack(outputs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [1, 5])
def test_a_full_dictionary_makes_the_same_room_in_learning_as_in_play(batch, seed):
    model, inputs, outputs = full(batch, seed)
    torch.testing.assert_close(model.sequence(inputs), outputs, rtol=1e-5, atol=1e-5)


def test_what_makes_room_does_not_depend_on_other_rows():
    """Beside one whose cue changes with every step, as when it stands alone."""
    model, inputs, _ = full(4)
    beside = torch.randn(60, 1, 7, generator=torch.Generator().manual_seed(9))
    together = model.sequence(torch.cat([inputs, beside], 1))
    for row in range(4):
        torch.testing.assert_close(together[:, row], model.sequence(inputs[:, [row]])[:, 0], rtol=1e-5, atol=1e-5)


def test_a_family_without_a_cue_is_refused_before_the_run():
    changes = ["agent.network=episodic-lstm", 'evaluation.players=["random"]']
    with pytest.raises(ConfigError, match=r"builtin/episodic-lstm \(networks\) needs cue, which no part"):
        load_experiment("rl2-bandit", changes)
    plan = load_experiment("rl2-bandit", [*changes, "family=two-step", "family.form=incremental"])
    with pytest.raises(UserError, match=r"episodic-lstm remembers by a cue, and builtin/two-step with these settings"):
        build_parts(plan.config)
    build = partial(build_network, Part(name="episodic-lstm"), family="mine")
    assert build(Inputs(6, 3, (1,))).output_size == 48
    for entry in (3, -1):
        with pytest.raises(UserError, match=f"mine says that entry {entry} of its observation .* it has 3 entries"):
            build(Inputs(6, 3, (1, entry)))


def test_the_log_says_what_is_held_and_what_made_room():
    """Five bandits in two rounds: nine episodes are written, two find places, the cue of some is held as they come."""
    changes = ["family=barcode-bandit", "family.pulls=2", "training.episodes=10", 'evaluation.players=["random"]']
    plan = load_experiment("rl2-bandit", [*changes, "agent.network=episodic-lstm", "agent.network.capacity=2"])
    parts = build_parts(plan.config)
    trial = collect(parts.learner, parts.family.batch(6), parts.source.ask(6), plan=parts.learner.plan(10))
    metrics = parts.learner.learn(trial)
    assert metrics["memory/held"] == 2.0
    assert 3.0 <= metrics["memory/evicted"] <= 7.0
