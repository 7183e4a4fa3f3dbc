"""Commands of the ``airflow`` command line."""
