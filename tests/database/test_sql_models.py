"""SQL models at load: what is read from a file, and what is refused."""

import re
from pathlib import Path

import pytest

from seda.database.sql_models import SqlModelError, load_models
from tests.database.model_files import KNOWN, load, write


def test_a_model_knows_what_it_reads_and_where_its_columns_come_from(tmp_path: Path) -> None:
    write(
        tmp_path,
        "toys",
        "with big as (select t.id, t.kind from seda.toy_rows t where t.size > 3)\n"
        "select b.id, upper(b.kind) || a.name as label, seda.clock() as seen\n"
        "from big b join seda.artists a on a.id = b.id",
        not_null="[label]",
        touched="seen",
    )
    toys = load(tmp_path)["toys"]
    assert (toys.relation, toys.layer) == ("seda.toys", "layer")
    assert toys.dependencies == {"seda.toy_rows", "seda.artists"}
    assert toys.columns == ("id", "label", "seen")
    assert toys.column_lineage == {
        "id": (("seda.toy_rows", "id"),),
        "label": (("seda.artists", "name"), ("seda.toy_rows", "kind")),
        "seen": (),
    }
    assert toys.header.not_null == ("label",)


def test_models_come_after_the_models_they_read(tmp_path: Path) -> None:
    write(tmp_path, "a_last", "select m.id from seda.m_middle m")
    write(tmp_path, "m_middle", "select z.id from seda.z_first z")
    write(tmp_path, "z_first", "select t.id from seda.toy_rows t")
    write(tmp_path, "b_alone", "select t.id from seda.toy_rows t")
    assert list(load(tmp_path)) == ["b_alone", "z_first", "m_middle", "a_last"]


def test_the_code_version_follows_meaning_not_layout(tmp_path: Path) -> None:
    def version(select: str, **fields: str) -> str:
        write(tmp_path, "toys", select, **fields)
        return load(tmp_path)["toys"].code_version

    plain = version("select t.id, t.kind from seda.toy_rows t")
    assert plain == version("SELECT t.id,\n  t.KIND -- why\nFROM seda.toy_rows AS t;\n-- end")
    assert plain == version("select t.id, t.kind from seda.toy_rows t", description="Other prose.")
    assert plain != version("select t.id, t.size as kind from seda.toy_rows t")
    assert plain != version("select t.id, t.kind from seda.toy_rows t", not_null="[kind]")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"owner": None}, "the header lacks 'owner'"),
        ({"materialized": None}, "the header lacks 'materialized'"),
        ({"description": None}, "the header lacks 'description'"),
        ({"description": ""}, ":4: the header lacks 'description'"),
        ({"unique": "id"}, ":5: write a list"),
        ({"unique": "[]"}, ":5: unique needs a column"),
        ({"unique": "[id, nose]"}, "names 'nose', which is not selected"),
        ({"owner": "somebody"}, ":2: the owner is an e-mail or team:name"),
        ({"materialized": "table"}, ":1: materialized is 'merge' or 'incremental', not 'table'"),
        ({"materialized": "incremental"}, ":1: incremental models, and no others, have an"),
        ({"event_time": "id", "lookback": "3"}, ":1: incremental models, and no others, have an"),
        ({"materialized": "incremental", "event_time": "kind", "lookback": "3"},
         ":6: the event_time is a part of the key"),
        ({"materialized": "incremental", "event_time": "id", "lookback": "some"},
         ":7: lookback is a number of days, not 'some'"),
        ({"goal": "more"}, ":6: a goal is 'at least 0.2' or 'at most 0.2', not 'more'"),
        ({"freshness": "1h"}, ":6: unknown header field 'freshness'"),
        ({"accepted_values": "{kind: a}"}, ":6: write accepted values"),
        ({"touched": "id"}, ":6: the touched column cannot be part of the key"),
        ({"per": "person"}, ":6: per is 'user'"),
        ({"per": "user"}, "needs user_id in the key"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_followed_is_refused(
    fields: dict[str, str | None], sentence: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "toys", "select t.id, t.kind from seda.toy_rows t", **fields)
    with pytest.raises(SqlModelError, match=re.escape(str(path))) as refusal:
        load(tmp_path)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("select", "sentence"),
    [
        ("select t.id\nfrom seda.toy_row t", ":7: unknown table seda.toy_row:"),
        ("select t.id\nfrom toy_rows t", ":7: write the schema of 'toy_rows'"),
        ("select t.id from seda.toys t", ":6: a model cannot read its own table"),
        ("select t.*, t.id from\nseda.toy_rows t", ":6: name the columns instead of '*'"),
        ("select * from seda.toy_rows", "name the columns instead of '*'"),
        ("select id from (select * from seda.toy_rows) t", "name the columns instead of '*'"),
        ("select t.id from seda.toy_rows t; select 1 as id", "this file has 2"),
        ("", "this file has 0"),
        ("delete from seda.toy_rows", "a model is one SELECT; this is DELETE"),
        ("drop table seda.toy_rows", "a model is one SELECT; this is DROP"),
        ("vacuum", "a model is one SELECT; this is COMMAND"),
        (
            "with gone as (delete from seda.toy_rows t returning t.id)\nselect g.id from gone g",
            "a model only reads; take out the DELETE",
        ),
        ("select t.id into seda.copy from seda.toy_rows t", "take out the INTO"),
        ("select t.id from seda.toy_rows t for update", "take out the LOCK"),
        ("select t.id, 'it''s from seda.toy_rows t", "this is no SQL"),
        ("select t.id,\nfrom where", ":7: "),
        ("select t.id, t.size + 1 from seda.toy_rows t", "give every column a name of its own"),
        ("select t.id, t.kind as id from seda.toy_rows t", "give every column a name of its own"),
        (
            "select t.id, name from seda.toy_rows t join seda.artists a on a.id = t.id",
            "Write table.column where tables are joined",
        ),
    ],
)
def test_sql_that_is_no_model_is_refused(select: str, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path, "toys", select)
    with pytest.raises(SqlModelError, match=re.escape(str(path))) as refusal:
        load(tmp_path)
    assert sentence in str(refusal.value)


def test_models_that_read_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "chicken", "select e.id from seda.egg e")
    write(tmp_path, "egg", "select c.id from seda.chicken c")
    with pytest.raises(SqlModelError, match=r"models read each other: (chicken|egg) → "):
        load(tmp_path)


def test_two_models_of_one_name_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "toys", "select t.id from seda.toy_rows t")
    twin = path.parent.parent / "another" / "toys.sql"
    twin.parent.mkdir()
    twin.write_text(path.read_text())
    with pytest.raises(SqlModelError, match="has the same name"):
        load(tmp_path)
    with pytest.raises(SqlModelError, match="no models here"):
        load_models(tmp_path / "nowhere", KNOWN)
