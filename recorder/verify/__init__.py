"""Proof that stored rows and declared gaps account for what was sent."""
