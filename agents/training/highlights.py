"""What a curriculum found worth a look, kept at every checkpoint: the tasks in the run's archive, with their ancestors.

highlights.jsonl holds one line for every checkpoint: its iteration, ids of tasks by what they are ("hardest"), and
which cells of archives of elites are filled (`taskgen.source.Elites`). The run's archive is marked with the last one,
so that lines which are gone are told.
"""

from dataclasses import asdict

from agents.training.experiment import Experiment
from agents.training.records import archive_of
from agents.training.run import RunDirectory
from registry.plan import Plan
from taskgen.archive import Archive
from taskgen.record import Record
from taskgen.source import Curriculum, Illuminating, TaskSource, Traceable

FILE = "highlights.jsonl"


def keep_highlights(run: RunDirectory, plan: Plan[Experiment], source: TaskSource, iteration: int) -> None:
    """Keep those of `source` after `iteration`; a source that is no curriculum has none."""
    if not isinstance(source, Curriculum):
        return
    found = {title: list(specs) for title, specs in source.highlights().items() if specs}
    if not found:
        return
    generator = plan.config.source.name
    version = next(item.version for item in plan.items if item.full_name == generator)
    with archive_of(run.path, write=True) as archive:
        for spec in {spec.id: spec for specs in found.values() for spec in specs}.values():
            records = list(source.lineage(spec)) if isinstance(source, Traceable) else []
            for record in records or [Record(spec, generator, version, (), 0, None, {})]:
                _keep(archive, record, iteration)
    ids = {title: [spec.id for spec in specs] for title, specs in found.items()}
    elites = source.elites() if isinstance(source, Illuminating) else {}
    kept = {title: asdict(archive) for title, archive in elites.items() if archive.places}
    run.append_line(FILE, {"iteration": iteration, "highlights": ids, **({"elites": kept} if kept else {})})
    with archive_of(run.path, write=True) as archive:
        archive.mark(FILE, iteration)


def _keep(archive: Archive, record: Record, iteration: int) -> None:
    archive.add(
        [record.spec],
        generator=record.generator,
        version=record.version,
        parents=record.parents,
        generation=record.generation,
    )
    if record.scores:
        archive.add_scores({record.spec.id: record.scores}, step=iteration)
