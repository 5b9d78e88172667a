"""Data quality as asset checks: suites declared by stage, validated by Great Expectations in SQL.

What blocks publishing is declared with the stage that must not be read further; the invariants of
published lists are inspected between loading and flipping (`seda.publishing.inspection`).
"""
