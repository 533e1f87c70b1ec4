"""Engines: what Ray, Dask and PostgreSQL do well already, started on leases and taken down without remains."""
