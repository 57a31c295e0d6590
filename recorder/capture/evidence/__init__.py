"""What unreadable frames, wrong clocks and late frames mean for the gaps. Pure."""
