"""One recorder takes over from another process without a gap: what both keep, say and decide."""
