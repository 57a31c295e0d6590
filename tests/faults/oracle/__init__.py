"""Fake venues and a checker that share nothing with the product: no module here imports `recorder`.

The fakes are written from the venues' protocol pages. Each notes what it wrote to which connection, and every quote and
book message carries a number of its own in a size, so that each stored row is matched with the one message it is of.
"""
