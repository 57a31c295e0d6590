"""Archives, column files and backups: homes, readers and jobs for their tests."""
