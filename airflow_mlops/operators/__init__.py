"""One Airflow task each: measure, record, enforce."""
