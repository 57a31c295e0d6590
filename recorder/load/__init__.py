"""The writer program: tails journals and loads them into Postgres."""
