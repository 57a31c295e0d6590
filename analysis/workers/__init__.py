"""Programs that derive tables from what is recorded."""
