"""The program keeper: partitions ahead, archives of ended days, retention, and the budget of the disk."""
