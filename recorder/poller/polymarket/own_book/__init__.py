"""Our own books of outcome tokens: read from the journal of the recorder, and compared with the venue's answers."""
