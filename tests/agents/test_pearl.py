"""What PEARL computes, on Gaussians worked out by hand and on short trials."""

import copy
import dataclasses
from itertools import pairwise

import gymnasium as gym
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from agents.pearl import PEARL, Belief, PEARLConfig
from agents.testing import check_agent
from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.spec import RewardSpec
from tests.agents.training.test_loop import Quiet, digest

SMALL = {
    "hidden": [16],
    "encoder_hidden": [16],
    "latent": 3,
    "batch": 8,
    "meta_batch": 3,
    "capacity": 200,
    "warm_up": 0,
    "updates_per_step": 0.05,
}


def _agent(**settings):
    tasks = build_family("point-navigation", {"goals": "half-circle", "horizon": 5})
    problem = problem_of(tasks, episodes=3, seed=1, device=torch.device("cpu"))
    agent = build_agent(Part.model_validate({"name": "pearl", **SMALL, **settings}), problem)
    assert isinstance(agent, PEARL)
    return agent, tasks


def _trial(agent, tasks, trials=4, episodes=3):
    specs = [tasks.spec({"angle": 0.1 * seed}, seed=seed) for seed in range(trials)]
    return collect(agent, tasks.batch(trials), specs, plan=agent.plan(episodes))


def _factors(n):
    return torch.randn(2, n, 3), torch.rand(2, n, 3) + 0.5


def test_product_of_gaussians_is_the_closed_form():
    prior = Belief.prior(1, 1, torch.device("cpu"))
    belief = prior.times(torch.tensor([[[3.0], [-1.0]]]), torch.tensor([[[0.5], [2.0]]]), torch.ones(1, 2))
    # precisions 1 + 2 + 1/2; means weighted by them: 0 + 2 * 3 - 1/2
    assert belief.mean.item() == pytest.approx(5.5 / 3.5)
    assert belief.std.item() == pytest.approx(3.5**-0.5)
    grid = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    log_density = -0.5 * grid**2 - 0.5 * (grid - 3) ** 2 / 0.5 - 0.5 * (grid + 1) ** 2 / 2.0
    share = log_density.softmax(0)
    mean = (share * grid).sum()
    assert belief.mean.item() == pytest.approx(mean.item(), abs=1e-5)
    assert belief.std.item() == pytest.approx((share * (grid - mean) ** 2).sum().sqrt().item(), abs=1e-5)


def test_divergence_is_that_of_torch():
    belief = Belief.prior(2, 3, torch.device("cpu")).times(*_factors(4), torch.ones(2, 4))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(belief.mean, belief.std), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(belief.divergence(), expected.sum(-1))
    assert Belief.prior(2, 3, torch.device("cpu")).divergence().tolist() == [0, 0]


def test_order_of_the_context_does_not_matter_and_variance_falls_with_its_size():
    mean, variance = _factors(8)
    prior = Belief.prior(2, 3, torch.device("cpu"))
    whole = prior.times(mean, variance, torch.ones(2, 8))
    order = torch.randperm(8)
    for same in (
        prior.times(mean[:, order], variance[:, order], torch.ones(2, 8)),
        prior.times(mean[:, :3], variance[:, :3], torch.ones(2, 3)).times(
            mean[:, 3:], variance[:, 3:], torch.ones(2, 5)
        ),
    ):
        torch.testing.assert_close(same, whole)
    stds = [prior.times(mean, variance, (torch.arange(8) < size).float().expand(2, 8)).std for size in range(9)]
    assert torch.equal(stds[0], torch.ones(2, 3))
    assert all((more < less).all() for less, more in pairwise(stds))


def test_samples_have_the_mean_and_spread_of_the_belief():
    belief = Belief(torch.full((20_000, 1), 4.0), torch.full((20_000, 1), 8.0))
    drawn = belief.sample(torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.01)


def _moved(agent, part):
    before = {name: value.clone() for name, value in part.state_dict().items()}
    agent._update()
    return any(not torch.equal(value, before[name]) for name, value in part.state_dict().items())


def test_critics_and_divergence_train_the_encoder_and_the_policy_does_not():
    agent, tasks = _agent(
        learning_rate=1e-2, kl_weight=0.0, updates_per_step=1e-9, meta_batch=16
    )  # some know something
    agent.learn(_trial(agent, tasks))
    assert _moved(agent, agent._encoder)  # by the critics alone

    critic_loss = agent._model.critic_loss
    agent._model.critic_loss = lambda inputs, *rest: critic_loss(inputs.detach(), *rest)
    state = copy.deepcopy(agent.state_dict())
    assert _moved(agent, agent._model.actor)
    agent.load_state_dict(state)
    # Adam moves what has no gradient no more than what has none: a fresh optimiser shows that none comes.
    agent._critic_optimizer.state.clear()
    assert not _moved(agent, agent._encoder)
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in agent._encoder.parameters())

    agent.config = agent.config.model_copy(update={"kl_weight": 1.0})
    assert _moved(agent, agent._encoder)  # by the divergence alone


def test_exploration_data_are_kept_apart():
    agent, tasks = _agent(exploration=1, recent=4)
    trial = _trial(agent, tasks)
    agent.learn(trial)
    contexts, replay = agent._contexts.state_dict()["columns"], agent._replay.state_dict()["columns"]
    assert agent._contexts.sizes[:5] == [1, 1, 1, 1, 0]
    assert agent._replay.sizes[:5] == [15, 15, 15, 15, 0]  # all three episodes
    assert contexts["transitions"].shape[1:] == (1, 1, 5, 5)  # the first alone
    for slot in range(4):
        transitions, first = contexts["transitions"][slot, 0, 0], trial.rounds[0]
        torch.testing.assert_close(transitions[:, :2], first.observation[:, slot])
        torch.testing.assert_close(transitions[:, 2:4], first.action[:, slot] / 0.1)
        torch.testing.assert_close(transitions[:, 4], first.reward[:, slot])
        torch.testing.assert_close(replay["action"][slot, :15], trial.rollout.action[:, slot])
    assert contexts["played"][:4].all()
    for _ in range(5):
        agent.learn(_trial(agent, tasks))
    assert agent._contexts.sizes[:4] == [4] * 4  # the newest only
    assert agent._replay.sizes[:4] == [90] * 4


class Looks(TorchDispatchMode):
    """Counts what would wait for an accelerator: values read, shapes that depend on them, copies to it from the host.

    Reading a tensor on the CPU by `tolist` is no operation; `counted` patches it.
    """

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put_") and any(x is not None and x.dtype == torch.bool for x in args[1])
        self.count += masks or name in ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select")
        return func(*args, **(kwargs or {}))


def test_host_syncs_do_not_grow_with_tasks_or_updates(monkeypatch):
    def counted(updates_per_step, trials):
        agent, tasks = _agent(updates_per_step=updates_per_step)
        trial = _trial(agent, tasks, trials)
        tolist = torch.Tensor.tolist
        with Looks() as looks, monkeypatch.context() as patch:

            def read(self):
                looks.count += 1
                return tolist(self)

            patch.setattr(torch.Tensor, "tolist", read)
            updates = agent.learn(trial)["charts/updates"]
        return updates, looks.count

    (one, few), (many, more) = counted(1 / 15, 1), counted(1 / 6, 8)
    assert (one, many) == (1, 20)
    assert few <= 8
    assert more == few


def test_shorter_trials_are_padded_and_count_as_what_was_played():
    agent, tasks = _agent(context="all")
    agent.learn(_trial(agent, tasks, episodes=3))
    columns = agent._episodes(_trial(agent, tasks, episodes=1))
    assert columns["transitions"].shape == (4, 3, 5, 5)
    assert columns["played"].any(2).tolist() == [[True, False, False]] * 4
    assert not columns["transitions"][:, 1:].any()
    for _ in range(agent.config.recent):  # no longer trial is remembered
        agent.learn(_trial(agent, tasks, episodes=1))
    shares = torch.cat([(agent._context(torch.arange(4)).precision == 1).all(1).float() for _ in range(200)])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.06)  # one of two numbers of episodes, each as often


def test_episodes_that_end_early_are_padded_and_waiting_shows_nothing():
    agent, tasks = _agent(exploration=2)
    trial = _trial(agent, tasks)
    first, second, _ = trial.rounds
    first.valid[3:, 1] = False  # two steps of waiting
    names = ("observation", "action", "reward", "next_observation", "valid", "episode_index")
    second = dataclasses.replace(second, **{name: getattr(second, name)[:4] for name in names})  # all are done early
    rows = agent._episodes(dataclasses.replace(trial, rounds=(first, second)))
    assert rows["transitions"].shape == (4, 2, 5, 5)
    assert rows["played"].sum(-1).tolist() == [[5, 4], [3, 4], [5, 4], [5, 4]]
    assert not rows["transitions"][:, 1, 4].any()


@pytest.mark.parametrize(("context", "steps"), [("exploration", [5, 10, 10]), ("all", [5, 10, 15])])
def test_latents_come_from_the_prior_first_and_the_posterior_sees_what_it_may(context, steps):
    agent, tasks = _agent(exploration=2, context=context)
    trial = _trial(agent, tasks)
    agent._encoder.forward = lambda transitions: (
        torch.full((*transitions.shape[:-1], 3), 100.0),
        torch.ones(*transitions.shape[:-1], 3),
    )
    carry = agent.begin_trial(4)
    assert carry.latent.abs().max() < 6
    for number, count in enumerate(steps):
        carry = agent.adapt(carry, trial.rounds[number])
        torch.testing.assert_close(carry.belief.precision, torch.full((4, 3), 1.0 + count))
        drawn_from_prior = number == 0  # episode 1, the second, still explores
        assert (carry.latent.abs() < 6).all() == drawn_from_prior
        if not drawn_from_prior:
            assert (carry.latent - carry.belief.mean).abs().max() < 6 * (1 + count) ** -0.5


@pytest.mark.parametrize(("context", "most"), [("exploration", 2), ("all", 3)])
def test_training_contexts_are_the_beginnings_of_trials_of_the_same_task(context, most):
    agent, tasks = _agent(context=context, exploration=2)
    trial = _trial(agent, tasks)
    agent.learn(trial)
    agent._encoder.forward = lambda transitions: (transitions[..., :3], torch.ones(*transitions.shape[:-1], 3))
    seen = torch.cat([trial.rollout.observation, trial.rollout.action[..., :1] / 0.1], dim=-1)[:, 1]
    counts = set()
    for _ in range(30):
        belief = agent._context([0, 1])
        steps = round(float(belief.precision[1, 0])) - 1
        torch.testing.assert_close(belief.pull[1], seen[:steps].sum(0))
        counts.add(steps)
    assert counts == {5 * episodes for episodes in range(most + 1)}


def _dense_trial(agent, told):
    """Played with a reward of `told` for every task, beside the family's sparse one."""
    tasks = build_family("point-navigation", {"goals": "half-circle", "reward": "sparse", "horizon": 5})
    rewards = [RewardSpec("goal-proximity", {"goal": [0.1 * seed, 1.0]}) if told else None for seed in range(4)]
    specs = [tasks.spec({"distance": 0.3, "radius": 0.25}, seed=seed, reward=rewards[seed]) for seed in range(4)]
    return collect(agent, tasks.batch(4), specs, plan=agent.plan(3))


def test_the_encoder_can_read_the_sparse_reward_while_the_critics_learn_from_the_dense_one():
    agent, _ = _agent(context_reward="family", context="all")
    trial = _dense_trial(agent, told=True)
    dense, sparse = trial.rollout.reward[:, 1], trial.rollout.family_reward[:, 1]
    # exactly: the dense reward is 1 - distance to (0.1, 1), the sparse one 1 - distance to (0, 0.3) or 0
    after = trial.rollout.next_observation[:, 1]
    away = (after - torch.tensor([0.1, 1.0])).norm(dim=-1), (after - torch.tensor([0.0, 0.3])).norm(dim=-1)
    torch.testing.assert_close(dense, (1 - away[0]).clamp(min=0))
    torch.testing.assert_close(sparse, torch.where(away[1] <= 0.25, 1 - away[1], 0.0))
    agent.learn(trial)
    torch.testing.assert_close(agent._contexts.state_dict()["columns"]["transitions"][1, 0, ..., 4].flatten(), sparse)
    torch.testing.assert_close(agent._replay.state_dict()["columns"]["reward"][1, :15], dense)
    assert agent._contexts.sizes[:4] == [1] * 4

    seen = []
    encoder = agent._encoder.forward
    agent._encoder.forward = lambda transitions: (seen.append(transitions[..., 4]), encoder(transitions))[1]
    agent.adapt(agent.begin_trial(4), trial.rounds[0])
    torch.testing.assert_close(seen.pop()[1], sparse[:5])
    # a task without a reward of its own pays the sparse one as the only one
    plain = _dense_trial(agent, told=False)
    assert plain.rollout.family_reward is None
    agent.adapt(agent.begin_trial(4), plain.rounds[0])
    torch.testing.assert_close(seen.pop(), plain.rounds[0].reward.t())


def test_the_encoder_reads_what_the_task_pays_unless_told_otherwise():
    agent, _ = _agent()
    trial = _dense_trial(agent, told=True)
    agent.learn(trial)
    transitions = agent._contexts.state_dict()["columns"]["transitions"]
    torch.testing.assert_close(transitions[1, 0, 0, :, 4], trial.rounds[0].reward[:, 1])


def test_the_oldest_task_makes_room():
    agent, tasks = _agent(tasks=3)
    agent.learn(_trial(agent, tasks))
    ids = [tasks.spec({"angle": 0.1 * seed}, seed=seed).id for seed in range(4)]
    assert agent._shelf.state_dict() == {"tasks": [ids[3], ids[1], ids[2]], "came": 4}
    assert agent._replay.sizes == [15, 15, 15]  # the first task's transitions are gone


def test_goes_on_identically_with_its_memories():
    one, tasks = _agent(tasks=3, recent=2, capacity=20)
    one.learn(_trial(one, tasks))
    one.learn(_trial(one, tasks))
    other, _ = _agent(tasks=3, recent=2, capacity=20)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert one.learn(_trial(one, tasks)) == other.learn(_trial(other, tasks))
    assert torch.equal(_trial(one, tasks).rollout.action, _trial(other, tasks).rollout.action)


def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path):
    sizes = ("training.iterations=4", "training.tasks=5", "training.checkpoint_every=1", "training.evaluate_every=2")
    agent = ("agent.warm_up=900", "agent.updates_per_step=0.01", "agent.recent=2", "agent.batch=8", "agent.tasks=12")
    tasks = ("evaluation.tasks=4", "evaluation.final_tasks=4", 'evaluation.players=["random"]')
    plan = load_experiment("pearl-sparse-point", [*sizes, *agent, *tasks])
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    for run in (whole, cut):
        run.create(plan)
    assert train(plan, whole, Quiet())
    assert not train(plan, cut, Quiet(stop_after=3))
    assert train(cut.open(), cut, Quiet())
    assert digest(cut) == digest(whole)


def test_unbounded_actions_are_refused():
    tasks = build_family("point-navigation")
    problem = problem_of(tasks, episodes=1, seed=0, device=torch.device("cpu"))
    for space in (gym.spaces.Box(-1, float("inf"), (2,)), gym.spaces.Discrete(3)):
        with pytest.raises(UserError, match="finite bounds"):
            PEARL(PEARLConfig(), dataclasses.replace(problem, action_space=space))


@pytest.mark.parametrize("settings", [{}, {"exploration": 2, "context": "all", "next_observation": True}])
def test_follows_the_protocol_while_it_learns(settings):
    family = {"goals": "half-circle", "horizon": 6}
    check_agent("pearl", {**SMALL, **settings}, family="point-navigation", family_settings=family)


def test_the_divergence_is_added_by_its_weight():
    """Where critics lose nothing, the encoder's slope is that of the divergence times 2."""
    agent, tasks = _agent(kl_weight=2.0, updates_per_step=1e-9)
    agent.learn(_trial(agent, tasks))
    agent._critic_optimizer.step = lambda: None
    critic_loss = agent._model.critic_loss
    agent._model.critic_loss = lambda *given: tuple(0.0 * part for part in critic_loss(*given))
    state = agent._generator.get_state()
    choice = torch.randint(len(agent._shelf), (3,), generator=agent._generator)
    divergence = agent._context(choice.tolist()).divergence().mean()
    expected = torch.autograd.grad(2.0 * divergence, list(agent._encoder.parameters()))
    agent._generator.set_state(state)
    agent._update()
    for parameter, slope in zip(agent._encoder.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, slope)


def test_the_temperature_s_slope_is_the_surplus_of_entropy():
    agent, tasks = _agent(target_entropy=-1.5, updates_per_step=1e-9)
    agent.learn(_trial(agent, tasks))
    agent._policy_optimizer.step = lambda: None
    entropy = agent._update()["losses/entropy"]
    torch.testing.assert_close(agent._model.log_temperature.grad, entropy + 1.5 * 2)  # two action dimensions
