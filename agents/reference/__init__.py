"""Reference players: random, classical and optimal play, evaluated beside the meta-learners on the same tasks."""
