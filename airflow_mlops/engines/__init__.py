"""One third-party library per file, behind domain values. No Airflow import, and no engine imports another."""
