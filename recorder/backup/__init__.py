"""Base backups of Postgres: taken, verified, kept, proved by a restore, and restored."""
