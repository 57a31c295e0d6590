"""Who asks, and what they may: users, passwords, tokens, sessions, the audit log."""
