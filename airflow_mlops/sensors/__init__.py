"""Sensors: other Dags follow a model."""
