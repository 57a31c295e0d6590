"""Postgres: connections, schema, and the loader of journal batches."""
