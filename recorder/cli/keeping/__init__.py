"""Commands about the jobs of the keeper, and about backups."""
