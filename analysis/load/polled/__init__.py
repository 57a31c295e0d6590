"""Tables that the poller fills: prediction markets, their snapshots, and tapes of them."""
