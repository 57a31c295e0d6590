"""What tests of the program `web` need: rows, a running program, a client, a browser."""
