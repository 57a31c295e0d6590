"""The stream: what the web sends to browsers and scripts while something changes."""
