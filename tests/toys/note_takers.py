"""A plugin with trackers of every completeness: as little as must be, all that may be, too little."""

import json

from pydantic import Field

from registry import Entry, hookimpl
from registry.config import Config


class Least:
    """Has what every tracker must have."""

    def __init__(self, config: Config, *, directory):
        self.file = directory / "least.txt"

    def log(self, step, metrics):
        with self.file.open("a") as file:
            file.write(f"{step}\n")

    def close(self):
        with self.file.open("a") as file:
            file.write("closed\n")


class Most(Least):
    """Has what a tracker may have."""

    def __init__(self, config: Config, *, directory):
        self.file = directory / "most.txt"

    def truncate_after(self, step):
        if self.file.exists():
            lines = self.file.read_text().splitlines()
            self.file.write_text("".join(f"{line}\n" for line in lines if not line.isdigit() or int(line) <= step))

    def configured(self, config):
        with self.file.open("a") as file:
            file.write(f"configured {config['name']} {config['training']['iterations']}\n")

    def evaluated(self, step, summary):
        with self.file.open("a") as file:
            file.write(f"evaluated {step} {json.dumps(summary['trial']['mean'])} {summary['steps']}\n")


class Mute:
    """Cannot log."""

    def __init__(self, config: Config, *, directory): ...

    def close(self): ...


class Faller(Most):
    """Raises in the method that is asked for."""

    def __init__(self, config: "FallerConfig", *, directory):
        super().__init__(config, directory=directory)

        def fall(*given):
            raise KeyError(config.method)

        setattr(self, config.method, fall)


class FallerConfig(Config):
    """Settings of `Faller`."""

    method: str = Field(default="log", description="Which method raises.")


@hookimpl
def register_trackers():
    return [
        Entry("least", "note_takers:Least", "Logs the steps."),
        Entry("most", "note_takers:Most", "Logs all there is."),
        Entry("faller", "note_takers:Faller", "Raises.", config="note_takers:FallerConfig"),
        Entry("mute", "note_takers:Mute", "Logs nothing."),
    ]
