"""Figure: stream decoder and listing."""
