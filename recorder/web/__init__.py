"""The program web: REST, the stream, and the pages."""
