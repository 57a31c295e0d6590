"""Recording of one venue: links, sessions, decoding, the write buffer."""
