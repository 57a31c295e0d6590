"""One WebSocket connection and its frame reader."""
