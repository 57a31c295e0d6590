"""All SQL of the program `web`, and the connections it runs on."""
