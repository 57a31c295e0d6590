"""Yahoo Finance over REST: bars, splits and dividends of stocks. It has no feed, so it is no recorded venue."""
