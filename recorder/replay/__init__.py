"""Kept frames decoded again, compared with the stored rows, and applied."""
