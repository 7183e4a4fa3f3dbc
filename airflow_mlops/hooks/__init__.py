"""An Airflow connection or setting becomes a ready engine."""
