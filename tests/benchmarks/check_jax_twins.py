"""The twins in JAX: from the same weights and tasks they compute what ours do, and the benchmark measures them."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("jax", reason="taskgen-metarl[twins] is not installed")

import jax
import jax.numpy as jnp

import taskgen
from agents.rl2 import LOSSES
from agents.training.experiment import build_parts, load_experiment
from benchmarks import harness, inner_loop, jax_twins, twins_maml, twins_maze, twins_rl2
from benchmarks.plain_worlds import context
from registry.errors import UserError
from taskgen.interaction.collect import collect

jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than what is compiled

SMALL = {
    "bandit": jax_twins.Training("rl2-bandit", ("training.tasks=12", "training.episodes=7")),
    "tabular": jax_twins.Training("rl2-tabular", ("training.tasks=16", "training.episodes=3")),
}
KEY = jax.random.PRNGKey(3)


def close(one, other, apart=1e-4):
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=apart, atol=apart)


def shaken(name, *overrides):
    """An experiment, its parts and its twin, with weights none of which is at a value that would hide it."""
    base = SMALL[name]
    config, parts = jax_twins.prepared(base._replace(overrides=(*base.overrides, *overrides)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in parts.player._model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return config, parts, *jax_twins.twin_of(config, parts)


def trial_of(config, parts):
    plan = parts.player.plan(config.training.episodes)
    tasks = config.training.tasks
    return collect(parts.player, parts.family.batch(tasks * plan.slots), parts.source.ask(tasks), plan=plan)


def played_by(agent, rollout):
    parts = (agent._encoder(rollout.steps), rollout.action, *(rollout.record[n] for n in ("log_prob", "value")))
    return twins_rl2.Played(*(part.numpy() for part in (*parts, rollout.reward)))


@pytest.mark.parametrize("name", SMALL)
def test_networks_step_and_read_sequences_alike(name):
    _, parts, twin, learner = shaken(name)
    network = parts.player._model.network
    inputs = torch.randn(9, 5, parts.player._encoder.size, generator=torch.Generator().manual_seed(2))
    step, sequence = jax.jit(twin.network.step), jax.jit(twin.network.sequence)
    with torch.no_grad():
        close(sequence(learner.weights, inputs.numpy()), network.sequence(inputs))
        memory, theirs = network.initial(5), twin.network.initial(5)
        for row in inputs:
            features, memory = network.step(row, memory)
            found, theirs = step(learner.weights, row.numpy(), theirs)
            close(found, features)


@pytest.mark.parametrize("name", SMALL)
def test_loss_and_gradient_of_a_batch(name):
    config, parts, twin, learner = shaken(name)
    agent = parts.player
    trial = trial_of(config, parts)
    rollout = trial.rollout
    with torch.no_grad():  # of weights that have moved since the trial
        for weight in agent._model.parameters():
            weight.add_(0.05)
    weights = jax.tree.map(lambda weight: weight + 0.05, learner.weights)
    advantage, target = agent._advantages(rollout)
    played = played_by(agent, rollout)
    columns = {"inputs": torch.from_numpy(played.inputs), "action": rollout.action, "advantage": advantage}
    columns |= {"log_prob": rollout.record["log_prob"], "reward": rollout.reward, "target": target}
    columns |= {"restart": rollout.episode_start, "valid": rollout.valid}
    parts_of_loss = agent._losses(columns, agent._model.network.initial(config.training.tasks))
    found = dict(zip(LOSSES, parts_of_loss, strict=False))  # the last one where rewards are predicted
    loss = found["losses/policy_loss"] + 0.5 * found["losses/value_loss"] - 0.003 * found["losses/entropy"]
    loss = loss + agent.config.reward_prediction * found.get("losses/reward_prediction", 0.0)
    gradient = dict(
        zip(
            dict(agent._model.named_parameters()),
            torch.autograd.grad(loss, list(agent._model.parameters())),
            strict=True,
        )
    )
    batch = (played.inputs, played.action, played.log_prob, played.reward, advantage.numpy(), target.numpy())
    (theirs, figures), slopes = twin.losses(weights, batch, 0.003)
    close(theirs, loss.detach())
    assert {f"losses/{name}" for name in figures} == found.keys()
    for figure, value in figures.items():
        close(value, found[f"losses/{figure}"].detach())
    assert slopes.keys() == gradient.keys()
    for weight, slope in slopes.items():
        close(slope, gradient[weight].t())


@pytest.mark.parametrize("name", SMALL)
def test_two_updates_in_a_row(name):
    """With one minibatch it does not matter who is in which."""
    overrides = ["agent.minibatches=1", "agent.epochs=2", "training.iterations=3", "agent.learning_rate=0.001"]
    config, parts, twin, learner = shaken(name, *overrides, "agent.entropy=0.5")
    agent = parts.player
    for _ in range(2):
        trial = trial_of(config, parts)
        learner, figures = twin.learn(learner, played_by(agent, trial.rollout), KEY)
        metrics = agent.learn(trial)
        for figure, value in figures.items():
            close(value, metrics[f"losses/{figure}"], 1e-3)
    close(learner.value_mean, agent._value_mean)
    close(learner.value_scale, agent._value_scale)
    apart = [
        np.abs(np.asarray(learner.weights[weight]) - value.numpy().T).ravel()
        for weight, value in agent._model.state_dict().items()
    ]
    assert np.quantile(np.concatenate(apart), 0.99) < 1e-4  # Adam moves what has no gradient but rounding, too
    assert all(part.max() < 5e-3 for part in apart)


@pytest.mark.parametrize("name", SMALL)
def test_the_twin_reads_what_ours_reads(name):
    config, parts, twin, learner = shaken(name)
    played = jax.tree.map(np.asarray, twin.play(learner.weights, KEY, 4))
    encoder, horizon, actions = parts.player._encoder, parts.family.horizon, twin.world.actions
    assert played.inputs.shape == (config.training.episodes * horizon, 4, encoder.size)
    seen, chosen, reward, begins, first = np.split(
        played.inputs, np.cumsum([encoder.observation_size, actions, 1, 1]), axis=-1
    )
    assert (first[0] == 1).all()
    assert (first[1:] == 0).all()
    expected = np.arange(len(begins)) % horizon == 0
    expected[0] = False
    assert (begins[:, :, 0] == expected[:, None]).all()
    assert (chosen[0] == 0).all()
    assert (chosen[1:] == np.eye(actions)[played.action[:-1]]).all()
    assert (reward[0] == 0).all()
    assert (reward[1:, :, 0] == played.reward[:-1]).all()
    start = np.zeros(1) if name == "bandit" else np.eye(10)[0]
    assert (seen[::horizon] == start).all()
    assert name == "bandit" or len(np.unique(seen[1:horizon].argmax(-1))) > 2
    features = jax.jit(twin.network.sequence)(learner.weights, played.inputs)
    logs, value = twin._heads(learner.weights, features)
    close(np.take_along_axis(np.asarray(logs), played.action[..., None], -1)[..., 0], played.log_prob)
    close(value, played.value)


def test_worlds_by_hand():
    bandit = twins_rl2.Bandit(3)
    arms = np.tile([0.0, 0.25, 1.0], (3000, 1)).astype(np.float32)
    action = np.arange(3000) % 3
    _, reward = bandit.step(jnp.asarray(arms), bandit.initial(3000), jnp.asarray(action), KEY)
    reward = np.asarray(reward)
    assert reward[action == 0].max() == 0
    assert reward[action == 2].min() == 1
    assert reward[action == 1].mean() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 1000) ** 0.5)
    drawn = np.asarray(bandit.draw(KEY, 4000))
    assert drawn.mean() == pytest.approx(0.5, abs=5 * 12**-0.5 / 12000**0.5)

    world = twins_rl2.Tabular(states=3, actions=2, horizon=5)
    rewards, cumulative = map(np.asarray, world.draw(KEY, 4000))
    assert rewards.mean() == pytest.approx(1, abs=5 / rewards.size**0.5)
    assert rewards.std() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(cumulative.mean((0, 1)), [1 / 3, 2 / 3], atol=0.01)
    assert cumulative[..., 0].std() == pytest.approx(18**-0.5, abs=0.01)  # of one share of Dirichlet(1, 1, 1)
    sure = np.array([[[0, 0], [1, 1], [0, 1], [1, 1], [0, 0], [0, 1]]], dtype=np.float32)  # to 2, 0, 1, 0, 2, 1
    tasks = np.arange(6, dtype=np.float32)[None].repeat(6000, 0), sure.repeat(6000, 0)
    state, action = np.arange(6000) % 6 // 2, np.arange(6000) % 2
    following, reward = world.step(tasks, jnp.asarray(state), jnp.asarray(action), KEY)
    assert (np.asarray(following).reshape(-1, 6) == [2, 0, 1, 0, 2, 1]).all()
    luck = np.asarray(reward).reshape(-1, 6) - np.arange(6)
    assert np.abs(luck.mean(0)).max() < 5 / 1000**0.5
    assert luck.std() == pytest.approx(1, abs=0.05)


def test_mazes_are_walked_alike():
    family, slots, steps = taskgen.build_family("maze", {"horizon": 40}), 48, 300
    tasks = [context("maze", number) for number in range(slots)]
    batch = family.batch(slots)
    batch.set_tasks([family.spec(task) for task in tasks])
    twin = twins_maze.Maze(tasks, view=5, horizon=40, time_penalty=0.9)
    close(twin.observe(twin.cells, twin.start), batch.reset(), 0)
    actions = np.random.default_rng(0).choice(3, (steps, slots), p=[0.2, 0.2, 0.6])
    _, seen = twin.play(twin.cells, twin.start, twin.start, actions)
    arrived = late = 0
    for t in range(steps):
        ours = batch.step(torch.from_numpy(actions[t]))
        over = ours.terminated | ours.truncated
        close(seen.reward[t], ours.reward, 1e-6)
        close(seen.terminated[t], ours.terminated, 0)
        close(seen.terminated[t] | seen.truncated[t], over, 0)
        close(seen.observation[t], batch.reset(over) if bool(over.any()) else ours.observation, 0)
        arrived, late = arrived + int(ours.terminated.sum()), late + int(ours.truncated.sum())
    assert arrived > 5
    assert late > 50


def navigation():
    """A MAML agent away from its first weights, its twin, and a trial of which some episodes end early."""
    overrides = ["training.tasks=3", "training.episodes=10", "agent.trajectories=5", "family.horizon=30"]
    config = load_experiment("maml-navigation", overrides).config
    parts = build_parts(config)
    agent = parts.player
    agent.parameters = agent.parameters + 0.2 * torch.randn(
        agent.parameters.shape, generator=torch.Generator().manual_seed(4)
    )
    trial = trial_of(config, parts)
    ends = 20 + torch.arange(15) % 11
    valid = torch.arange(30)[:, None] < ends
    trial = replace(trial, rounds=[replace(rollout, valid=valid & rollout.valid) for rollout in trial.rounds])
    weights = twins_maml.handed_over(agent.parameters.numpy(), jax_twins.policy_sizes(agent))
    return agent, jax_twins.maml_twin(agent), trial, weights


def test_weights_of_a_policy_there_and_back():
    agent, _, _, weights = navigation()
    assert [matrix.shape for matrix, _ in weights["layers"]] == [(2, 64), (64, 64), (64, 2)]
    close(twins_maml.flattened(weights), agent.parameters, 0)


def test_an_inner_step_of_policy_gradient():
    agent, twin, trial, weights = navigation()
    data = agent.experience(trial.rounds[0], 3)
    ours = agent.adapt(agent.begin_trial(3), trial.rounds[0]).parameters
    handed = twins_maml.Learned(
        *(part.numpy() for part in (data.observation, data.action, data.advantage, data.weight))
    )
    theirs = twin.inner_steps(weights, handed)
    assert float((ours - agent.parameters).abs().max()) > 1e-2
    for task in range(3):
        close(twins_maml.flattened(jax.tree.map(lambda part, task=task: part[task], theirs)), ours[task])
    own = twin.experience(jax_twins.rounds_of(trial)[0])  # its baseline is fitted in single precision
    close(own.advantage, data.advantage, 5e-3)


@pytest.mark.slow
def test_a_step_of_the_trust_region():
    agent, twin, trial, weights = navigation()
    start = agent.parameters
    metrics = agent.learn(trial)
    moved, figures = twin.learn(weights, *jax_twins.rounds_of(trial))
    assert metrics["losses/step_accepted"] == float(figures["accepted"]) == 1
    assert float(figures["gradient_norm"]) == pytest.approx(metrics["losses/gradient_norm"], rel=1e-2)
    ours, theirs = (agent.parameters - start).numpy(), twins_maml.flattened(moved) - start.numpy()
    assert np.linalg.norm(ours - theirs) < 0.03 * np.linalg.norm(ours)


def test_the_meta_gradient_of_the_inner_loop():
    generator = torch.Generator().manual_seed(0)
    start = inner_loop.NETWORK.initial(generator).requires_grad_()
    x, y = (torch.randn(3, 4, 2, generator=generator) for _ in range(2))
    weights = twins_maml.handed_over(start.detach().numpy(), inner_loop.LAYERS)
    found = twins_maml.meta_gradient(inner_loop.RATE)(weights, x.numpy(), y.numpy())
    close(twins_maml.flattened(found), inner_loop.STRATEGIES["loop"](start, x, y), 1e-5)


def test_alone_is_one_core_and_one_thread(monkeypatch):
    asked = []
    for name in ("XLA_FLAGS", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "")  # so that it is put back
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5, 3, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: asked.append(cores), raising=False)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    jax_twins.alone()
    assert asked == [{3}, 1]
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    assert "--xla_cpu_multi_thread_eigen=false" in os.environ["XLA_FLAGS"]


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(jax_twins, "TURNS", 3)
    monkeypatch.setattr(jax_twins, "SECONDS", 0.001)
    monkeypatch.setattr(jax_twins, "TRAININGS", SMALL)
    monkeypatch.setattr(jax_twins, "alone", lambda: None)  # tests go on with the cores they have
    monkeypatch.setattr(harness, "PROGRESS", tmp_path / "runs")
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")


@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(lambda: jax_twins.training("bandit"), id="training"),
        pytest.param(lambda: jax_twins.training("tabular"), id="tabular", marks=pytest.mark.slow),
        pytest.param(lambda: jax_twins.gradient(2, 3), id="gradient"),
    ],
)
def test_rows(measure, quick):
    rows = measure()
    assert all(0 < row["low"] <= row["value"] <= row["high"] for row in rows)
    judged = [row["what"] for row in rows if row["target"]]
    assert judged
    assert all(" over " in what and "clock" not in what for what in judged)


def test_ratios_by_hand():
    rates = {"a": np.array([[2.0, 1.0], [6.0, 2.0], [9.0, 3.0]]), "b": np.array([[4.0, 2.0], [3.0, 2.0], [3.0, 4.0]])}
    rows = {row["what"]: row for row in jax_twins.rows_of("x", "steps", rates, {("a", "b"): ">= 2"})}
    assert [rows["x: a over b"][name] for name in ("low", "value", "high", "met")] == [0.5, 2.0, 3.0, True]
    assert rows["x: a over b, by the clock"]["value"] == 0.75
    assert rows["x: a over b, by the clock"]["target"] is None
    assert rows["x: a, steps per second of CPU"]["value"] == 6.0


def test_sides_take_turns(quick):
    order = []
    sides = {name: lambda name=name: order.append(name) or 1 for name in "ab"}
    jax_twins.SECONDS = 0.0
    rates = jax_twins.turns(sides)
    assert "".join(order) == "aabb" + "ab" * 3
    assert all(values.shape == (3, 2) and (values > 0).all() for values in rates.values())


@pytest.mark.slow
def test_a_learned_twin_is_judged(quick, monkeypatch):
    monkeypatch.setattr(jax_twins, "JUDGED_ON", 2000)
    (row,) = jax_twins.learned("bandit", ">= 6", 2)
    assert row["low"] < 3.5 < row["high"] + 0.3  # 7 pulls at random earn a half each
    assert row["met"] is False


def test_what_has_no_twin_is_refused():
    config, parts = jax_twins.prepared(jax_twins.Training("rl2-bandit", ("agent.network=lstm", "training.tasks=4")))
    with pytest.raises(UserError, match="builtin/lstm has no twin"):
        jax_twins.twin_of(config, parts)


def test_parts_are_kept_and_recorded(quick, monkeypatch, capsys):
    calls = []

    def measured(name):
        return lambda: calls.append(name) or [harness.row(name, 1.0)]

    monkeypatch.setattr(jax_twins, "PARTS", {name: measured(name) for name in ("one", "two")})
    jax_twins.main(["two"])
    assert not harness.RESULTS.exists()
    jax_twins.main([])
    assert calls == ["two", "one", "two"]
    (path,) = harness.RESULTS.glob("*.json")
    assert [row["what"] for row in json.loads(path.read_text())["rows"]] == ["one", "two"]
    with pytest.raises(SystemExit):
        jax_twins.main(["three"])
    assert "three is no part; there are one, two" in capsys.readouterr().err
