"""Faults that a test causes in a database."""

import psycopg2

from recorder.store.database import database_name, with_database

_BACKENDS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


def terminate_backends(url: str) -> None:
    """End every other connection to a database."""
    connection = psycopg2.connect(with_database(url, "postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(_BACKENDS, (database_name(url),))
    connection.close()
