"""Stands in for Airflow: the few classes that a sensor is derived from, with the signatures of Airflow's own."""
