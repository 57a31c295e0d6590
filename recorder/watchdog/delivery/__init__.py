"""Messages about alerts: what is sent when, the queue on disk, the channels, and the dead man's switch."""
