"""The judge: agents play held-out tasks, and what can be said of their returns."""
