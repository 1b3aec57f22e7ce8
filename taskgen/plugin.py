"""The verbs of the command line that make and inspect tasks."""

from registry import Entry, hookimpl


@hookimpl
def register_commands() -> list[Entry]:
    """Task verbs."""
    return [
        Entry("generate", "taskgen.commands:generate", "Generate tasks and write them as JSON lines."),
        Entry("import", "taskgen.commands:import_tasks", "Write the tasks of a table or other program as a task file."),
        Entry("show", "taskgen.commands:show", "Show the tasks of a file and how their knobs are distributed."),
        Entry("validate", "taskgen.commands:validate", "Check every line of a task file."),
        Entry("split", "taskgen.commands:split", "Split a task file into training and held-out tasks, by task."),
    ]
