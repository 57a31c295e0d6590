"""Certificates: what is known of one hour of one stream, and the proof of it."""
