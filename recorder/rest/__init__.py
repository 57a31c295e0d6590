"""The one HTTP client of public REST, with budget and breaker."""
