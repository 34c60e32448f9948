"""The TaskHub port and the plumbing of its implementations."""
