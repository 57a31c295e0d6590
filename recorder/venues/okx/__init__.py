"""OKX: stream decoder and listing."""
