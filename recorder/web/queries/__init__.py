"""All SQL of the web."""
