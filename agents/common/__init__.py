"""What several algorithms compute: pure maths with tests by hand, inner loops, replay, shared descent."""
