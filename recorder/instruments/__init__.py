"""Listings of venues and subscriptions: catalog, patterns, subscriptions."""
