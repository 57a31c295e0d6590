"""Monitoring: looks at the appliance, panels that fail alone, and what the pages make of both."""
