"""The doctor of databases: what it asks, how it judges the answers, and what it mends itself."""
