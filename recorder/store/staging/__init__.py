"""Staging tables: how rows enter the tables from them, and which tables are loaded through one."""
