"""Several coordinators over one PostgreSQL, measured: one command a module."""
