"""Venues on loopback that know the truth and misbehave on request: a program, and a library for tests."""
