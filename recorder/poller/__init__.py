"""The program that polls REST services on a schedule, and accounts for every slot of it."""
