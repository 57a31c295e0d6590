"""Files that are mapped into memory instead of being read."""
