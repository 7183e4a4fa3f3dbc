"""Real public data in the shape the tutorials and the end-to-end tests use. The package `airflow_mlops` never imports it."""
