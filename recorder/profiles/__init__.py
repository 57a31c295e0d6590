"""Settings files that come with Tapedeck."""
