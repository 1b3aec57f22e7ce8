"""The catalogue entries of curricula and filters."""

from registry import Entry


def curricula() -> list[Entry]:
    """Sources that wrap sources."""
    return [*_stages_and_filters(), *_continuous_curricula(), *_replay_curricula()]


def _stages_and_filters() -> list[Entry]:
    """Curricula that go by plan, and sources made of parts of others."""
    return [
        Entry(
            "staged",
            "plugins.curricula.staged:Staged",
            "Harder step by step: longer trials, longer episodes or other settings, by results or by plan.",
            config="plugins.curricula.staged:StagedConfig",
            citation="Bengio et al. 2009, Curriculum Learning, section 4",
            tags=("curriculum",),
        ),
        Entry(
            "mix",
            "plugins.curricula.mix:Mix",
            "Tasks of several sources in fixed shares.",
            config="plugins.curricula.mix:MixConfig",
            tags=("filter",),
        ),
        Entry(
            "schedule",
            "plugins.curricula.schedule:Schedule",
            "Tasks of several sources in shares that change with time.",
            config="plugins.curricula.schedule:ScheduleConfig",
            tags=("curriculum",),
        ),
        Entry(
            "solvable",
            "plugins.curricula.solvable:SolvableTasks",
            "Of a source's tasks those that can be solved, by what the family knows or a reference player does.",
            config="plugins.curricula.solvable:SolvableConfig",
            tags=("filter",),
        ),
        Entry(
            "interesting",
            "plugins.curricula.interesting:Interesting",
            "Of a source's tasks those in which the best player gets more than one who acts at random.",
            config="plugins.curricula.interesting:InterestingConfig",
            citation="Open-Ended Learning Team 2021, Open-Ended Learning Leads to Generally Capable Agents",
            tags=("filter",),
        ),
        Entry(
            "deduplicated",
            "plugins.curricula.deduplicated:Deduplicated",
            "Of a source's tasks each but once.",
            config="plugins.curricula.deduplicated:DeduplicatedConfig",
            tags=("filter",),
        ),
        Entry(
            "within",
            "plugins.curricula.within:Within",
            "Of a source's tasks those whose knobs or features lie in given ranges.",
            config="plugins.curricula.within:WithinConfig",
            tags=("filter",),
        ),
    ]


def _continuous_curricula() -> list[Entry]:
    """Curricula over regions of the context space."""
    return [
        Entry(
            "alp-gmm",
            "plugins.curricula.alp_gmm:AlpGmm",
            "Tasks from where absolute learning progress is high, by a Gaussian mixture over the knobs.",
            config="plugins.curricula.alp_gmm:AlpGmmConfig",
            citation=(
                "Portelas et al. 2019, Teacher Algorithms for Curriculum Learning of Deep RL in Continuously "
                "Parameterized Environments, section 4"
            ),
            tags=("curriculum", "learning-progress"),
        ),
        Entry(
            "learning-progress",
            "plugins.curricula.learning_progress:LearningProgress",
            "Of a finite set of tasks, or of cells of a grid over the knobs, those whose success changes.",
            config="plugins.curricula.learning_progress:LearningProgressConfig",
            citation=(
                "Kanitscheider et al. 2021, Multi-Task Curriculum Learning in a Complex, Visual, Hard-Exploration "
                "Domain: Minecraft, section 3"
            ),
            tags=("curriculum", "learning-progress"),
        ),
        Entry(
            "adr",
            "plugins.curricula.adr:Adr",
            "Automatic domain randomisation: ranges of the knobs widen as long as the agent copes at their ends.",
            config="plugins.curricula.adr:AdrConfig",
            citation="OpenAI 2019, Solving Rubik's Cube with a Robot Hand, section 5.2",
            tags=("curriculum",),
        ),
    ]


def _replay_curricula() -> list[Entry]:
    """Curricula that come back to tasks worth learning from."""

    def curriculum(name: str, target: str, summary: str, citation: str, needs: tuple[str, ...] = ()) -> Entry:
        target = f"plugins.curricula.{target}"
        return Entry(name, target, summary, f"{target}Config", citation, tags=("curriculum", "replay"), needs=needs)

    return [
        curriculum(
            "plr",
            "plr:PrioritizedLevelReplay",
            "New tasks, and again those of the past that are most worth learning from.",
            "Jiang, Grefenstette and Rocktaeschel 2021, Prioritized Level Replay, section 3",
        ),
        curriculum(
            "robust-plr",
            "robust_plr:RobustLevelReplay",
            "Prioritized Level Replay whose agent learns from replays alone; new tasks are only scored.",
            "Jiang et al. 2021, Replay-Guided Adversarial Environment Design, section 4",
        ),
        curriculum(
            "accel",
            "accel:Accel",
            "Robust PLR that edits what was just replayed, so that tasks grow with the agent.",
            "Parker-Holder et al. 2022, Evolving Curricula with Regret-Based Environment Design, section 3",
            needs=("mutable",),
        ),
        Entry(
            "quality-diversity",
            "plugins.curricula.quality_diversity:QualityDiversity",
            "Of every kind of task, by measures, the one most worth learning from: MAP-Elites or CMA-ME.",
            config="plugins.curricula.quality_diversity:QualityDiversityConfig",
            citation=(
                "Mouret and Clune 2015, Illuminating search spaces by mapping elites, section 3; Fontaine et al. 2020, "
                "Covariance Matrix Adaptation for the Rapid Illumination of Behavior Space"
            ),
            tags=("curriculum", "replay", "quality-diversity"),
        ),
        curriculum(
            "sfl",
            "sfl:SamplingForLearnability",
            "Of many new tasks those that the agent solves now and then, for a while.",
            "Rutherford et al. 2024, No Regrets: Investigating and Improving Regret Approximations for Curriculum "
            "Discovery, section 5",
        ),
    ]
