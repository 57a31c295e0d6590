"""Simulated venues on loopback that know the truth and have faults on request, as a program and for tests."""
