"""The job `healing`."""
