"""`tapedeck decode` and the files it reads."""
