"""Engines, regions, bulk copy, the embedded server and the migrations; no table's queries."""
