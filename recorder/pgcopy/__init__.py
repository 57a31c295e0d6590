"""Postgres' binary COPY format: encode and decode."""
