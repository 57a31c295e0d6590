"""Where messages go: a webhook in the format that its service takes, and e-mail."""
