"""Column schemas of tables, as the UI shows them."""

import dagster as dg


def columns(**described: str) -> dg.TableSchema:
    """A column schema from `name="type: description"`."""
    parts = {name: text.partition(": ") for name, text in described.items()}
    return dg.TableSchema(
        [
            dg.TableColumn(name, kind, description=text or None)
            for name, (kind, _, text) in parts.items()
        ]
    )
