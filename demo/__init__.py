"""Real public data for the tutorials and the end-to-end tests. The package `airflow_mlops` never imports it."""
