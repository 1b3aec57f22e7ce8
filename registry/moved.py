"""Where modules went, for plugins that import them by the path of an earlier API level."""

from registry import names

_TRAINING = (
    *("checkpoint", "experiment", "highlights", "loop", "provenance", "quarantine", "records", "run", "sharing"),
    *("trained", "tree"),
)
_REPORTS = (
    *("comparison", "comparison_report", "curriculum_report", "evolution", "evolution_report", "evolution_figures"),
    *("figures", "film", "report", "results"),
)
MOVED = {
    **{f"agents.{name}": f"agents.training.{name}" for name in _TRAINING},
    **{f"agents.{name}": f"agents.reports.{name}" for name in _REPORTS},
    "agents.evaluation": "agents.evaluation.play",
    "agents.evolved_experiments": "TOML files in agents/experiments",
    "agents.experiments": "TOML files in agents/experiments",
    "agents.gradient": "agents.common.gradient",
    "agents.statistics": "agents.evaluation.statistics",
}
"""What level 1 calls a module -> what level 2 calls it. Where functions moved alone: `own_trial`, which went from
`agents.sharing` to `agents.common.parallel`; `evaluate_run`, `evaluation_sets` and `player_label`, which went from
`agents.loop` to `agents.training.judge`."""


def advice(error: BaseException) -> str:
    """What to import instead, or what stands in the way, as the end of a message; empty for other errors.

    Of a failed import: of what moved, or of a package of ours whose name means another file.
    """
    name = error.name if isinstance(error, ImportError) else None
    return f"; since API level 2 it is {MOVED[name]}" if name in MOVED else names.advice(error)
