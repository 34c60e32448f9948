"""Pure knowledge of the wire: what messages mean, how they are built, which calls exist."""
