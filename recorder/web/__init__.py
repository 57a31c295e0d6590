"""The API and the pages: what is recorded, how complete it is, and how the programs are."""
