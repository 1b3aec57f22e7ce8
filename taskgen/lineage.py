"""What a runner that evolves tasks says about them: names of scores in the run's archive, and of its metrics.

Iterations are numbers; parents and generations are the records' own. Reports and sources read these names, whoever
wrote them.
"""

CREATED = "niche/created"
"""Iteration in which the task got an agent of its own."""
RETIRED = "niche/retired"
"""Iteration in which its agent stopped learning; absent while it learns."""
FAILED = "niche/failed"
"""1 where it was retired because something went wrong; else absent."""
SOLVED = "niche/solved"
"""Iteration in which its agent first earned what counts as solved; absent before."""
SCORE = "niche/score"
"""Mean return of its agent in its last evaluation."""
BEST = "niche/best"
"""Mean return of its agent in its best evaluation."""
NOVELTY = "niche/novelty"
"""When it was admitted."""
FRESH = "niche/fresh"
"""1 where it was neither too easy nor too hard for every agent there had ever been, else 0."""
TRANSFERS = "niche/transfers-from/"
"""Followed by the id of a task: how often the agent of that task was taken over."""

NICHES, SOLVED_SO_FAR, ANNECS, TRANSFERRED = "tasks/niches", "tasks/solved", "tasks/annecs", "tasks/transfers"
"""Metrics: tasks that got an agent so far; of them solved; solved ones that had been new for every agent (ANNECS, Wang
et al. 2020, section 4.4); transfers of agents."""
