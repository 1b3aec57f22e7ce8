"""DIAYN: how well the last state of an episode tells the skill, on point navigation (10 skills) and half-cheetah (20).

    python -m benchmarks.diayn_skills            a minute a seed on the point, five on the cheetah, on one thread

Skills are learned without any reward, over 3 seeds each; accuracy is measured on fresh episodes. The pictures show the
episodes of seed 0: docs/diayn-point.svg and docs/diayn-half-cheetah.svg.
"""

import json
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.harness import ROOT, Resume, Row, record, row, seeds_row
from plugins.generators.diayn import DiaynConfig, Skills, learn_skills
from taskgen.build import build_family

SEEDS = (0, 1, 2)
ISSUE = "tasks from rewards"
POINT: dict[str, Any] = {"skills": 10, "iterations": 100}
CHEETAH: dict[str, Any] = {"skills": 20, "slots": 60, "iterations": 150}
_VELOCITY = 8
"""Place of the torso's forward velocity among the cheetah's observations."""
_SHOWN = 4
"""Episodes of each skill in a picture."""


def learn(family_name: str, settings: dict[str, Any], seed: int, structure: dict[str, Any]) -> Skills:
    """The skills of one seed."""
    family = build_family(family_name, structure)
    return learn_skills(DiaynConfig(**settings, learning_seed=seed), family, family.spec())


def episodes(skills: Skills) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Observations [T, B, D] of fresh episodes and the skill [B] shown in each."""
    batch = skills.batch
    batch.skill = torch.arange(batch.slots) % batch.config.skills
    return skills.play("shown").rollout.next_observation.numpy(), batch.skill.numpy()


def point(seed: int) -> dict[str, Any]:
    """Accuracy of one seed."""
    skills = learn("point-navigation", POINT, seed, {"goals": "half-circle"})
    if seed == SEEDS[0]:
        seen, skill = episodes(skills)
        figure, axes = _figure("ten skills of a point: where 20 steps from the centre lead")
        for number in range(POINT["skills"]):
            for column in np.flatnonzero(skill == number)[:_SHOWN]:
                path = np.concatenate([np.zeros((1, 2)), seen[:, column]])
                axes.plot(*path.T, color=_color(number, POINT["skills"]), linewidth=1.2)
            axes.text(*seen[-1, skill == number].mean(0), str(number), fontsize=13, weight="bold", ha="center")
        axes.set_aspect("equal")
        axes.set_xlabel("x")
        axes.set_ylabel("y")
        _save(figure, "diayn-point")
    return {"accuracy": skills.accuracy()}


def cheetah(seed: int) -> dict[str, Any]:
    """Accuracy of one seed, and the mean velocity of every skill."""
    skills = learn("half-cheetah", CHEETAH, seed, {})
    seen, skill = episodes(skills)
    velocity = seen[:, :, _VELOCITY]
    if seed == SEEDS[0]:
        figure, axes = _figure("twenty skills of a half-cheetah: distance run in 200 steps")
        for number in range(CHEETAH["skills"]):
            column = np.flatnonzero(skill == number)[0]
            distance = np.cumsum(velocity[:, column]) * 0.05
            axes.plot(distance, color=_color(number, CHEETAH["skills"]), linewidth=1.4)
            axes.annotate(str(number), (len(distance), distance[-1]), color=_color(number, CHEETAH["skills"]))
        axes.set_xlabel("step of 0.05 s")
        axes.set_ylabel("metres forwards (backwards below 0)")
        _save(figure, "diayn-half-cheetah")
    speeds = [float(velocity[:, skill == number].mean()) for number in range(CHEETAH["skills"])]
    return {"accuracy": skills.accuracy(), "speeds": speeds}


def _figure(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.grid(color="#d8dde3", linewidth=0.7)
    return figure, axes


def _color(number: int, count: int) -> Any:
    return mpl.colormaps["turbo"](0.05 + 0.9 * number / (count - 1))


def _save(figure: Figure, name: str) -> None:
    with mpl.rc_context({"svg.hashsalt": "taskgen"}):
        figure.savefig(ROOT / "docs" / f"{name}.svg", metadata={"Date": None})


def rows_of(points: list[dict[str, Any]], cheetahs: list[dict[str, Any]]) -> list[Row]:
    """The figures."""
    told = "skill told from the last state of a fresh episode"
    rows = [
        seeds_row(f"point-navigation, 10 skills: {told}", [p["accuracy"] for p in points], ">= 0.9", ISSUE),
        row("point-navigation: chance", 0.1),
        seeds_row(f"half-cheetah, 20 skills: {told}", [c["accuracy"] for c in cheetahs], "> 0.1", ISSUE),
        row("half-cheetah: chance", 0.05),
    ]
    for seed, found in zip(SEEDS, cheetahs, strict=True):
        speeds = np.array(found["speeds"])
        rows += [
            row(f"half-cheetah, seed {seed}: fastest skill forwards, m/s", speeds.max(), target="> 0.1", source=ISSUE),
            row(
                f"half-cheetah, seed {seed}: fastest skill backwards, m/s", speeds.min(), target="< -0.1", source=ISSUE
            ),
            row(f"half-cheetah, seed {seed}: skills faster than 0.1 m/s forwards", int((speeds > 0.1).sum())),
            row(f"half-cheetah, seed {seed}: skills faster than 0.1 m/s backwards", int((speeds < -0.1).sum())),
        ]
    return rows


def main() -> None:
    """Learn, measure, draw, record."""
    torch.set_num_threads(1)
    resume = Resume("diayn_skills", {"point": POINT, "cheetah": CHEETAH})
    points = [resume.part(f"point {seed}", lambda seed=seed: point(seed)) for seed in SEEDS]
    cheetahs = [resume.part(f"cheetah {seed}", lambda seed=seed: cheetah(seed)) for seed in SEEDS]
    print(json.dumps({"point": points, "cheetah": cheetahs}, indent=1))
    record("diayn_skills", rows_of(points, cheetahs), SEEDS, resume.notes)
    resume.done()


if __name__ == "__main__":
    main()
