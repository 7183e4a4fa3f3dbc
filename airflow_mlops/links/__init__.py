"""Links from a task in the Airflow UI to what it made elsewhere."""
