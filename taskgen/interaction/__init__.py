"""Where agents and tasks meet: the agent protocol, `collect`, scores of what was played."""
