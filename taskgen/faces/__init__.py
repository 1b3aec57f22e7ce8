"""Faces: tasks as the environments that other libraries know. Gymnasium single and vector."""
