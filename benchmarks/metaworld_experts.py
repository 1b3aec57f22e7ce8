"""Meta-World's scripted experts in our family: each of the 50 environments with three of its goals.

    python -m benchmarks.metaworld_experts         two minutes on one thread; needs the extra metaworld

Experts see the goal, and the goals are those of training of ML1. An episode succeeds if any of its 500 steps does. The
target is what the experts reach on mujoco 3.3.0, for which Meta-World is written, with goals that it draws itself.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.harness import Row, record, row
from taskgen.build import build_family
from taskgen.engines.sawyer import classes

GOALS = 3
STEPS = 500


def expert_rows() -> Iterator[Row]:
    """All figures."""
    done = torch.stack([successes(environment) for environment in classes()])
    failed = [name for name, goals in zip(classes(), done, strict=True) if not bool(goals[0].all())]
    for name in failed:
        print(f"not always: {name}")
    of = f"episodes of {done[:, 0].numel()} in which the expert succeeds"
    yield row(of, float(done[:, 0].sum()), target=">= 146", source="mujoco 3.3.0, Meta-World's own goals")
    yield row("the same after the last step", float(done[:, 1].sum()))
    yield row("environments of 50 in which it succeeds with every goal", float(50 - len(failed)))


def successes(environment: str, goals: int = GOALS, steps: int = STEPS) -> Tensor:
    """[2, goals] bool: whether the expert succeeded after any step with each goal, and after the last one."""
    from metaworld.policies import ENV_POLICY_MAP  # pyright: ignore[reportMissingImports]

    family = build_family("metaworld", {"environment": environment, "goal_shown": True, "horizon": steps})
    batch, experts = family.batch(goals), [ENV_POLICY_MAP[environment]() for _ in range(goals)]
    batch.set_tasks([family.spec({"goal": goal}) for goal in range(goals)])
    seen = batch.reset()
    ever = torch.zeros(goals, dtype=torch.bool)
    done = ever
    for _ in range(steps):
        wanted = [expert.get_action(now.double().numpy()) for expert, now in zip(experts, seen, strict=True)]
        outcome = batch.step(torch.stack([torch.as_tensor(one).clamp(-1, 1).float() for one in wanted]))
        assert outcome.success is not None
        seen, done = outcome.observation, outcome.success
        ever = ever | done
    return torch.stack([ever, done])


if __name__ == "__main__":
    record("metaworld_experts", list(expert_rows()), seeds=[0])
