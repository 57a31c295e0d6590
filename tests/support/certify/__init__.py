"""Certificates by hand, and a home whose hours are certified."""
