"""One third-party library per file, behind domain values. No Airflow import; of each other they use only storage."""
