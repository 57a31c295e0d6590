"""Archives one day of one table: written, read back, compared with the table value by value, and only then dropped."""
