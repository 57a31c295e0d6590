"""Clients and rigs for tests of the simulated venues."""
