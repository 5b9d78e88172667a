"""Vector search: `sql/0003/*.sql`, in the order of the file names."""

from alembic import op

from seda.database.migration_files import run_up

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    op.execute(
        """
        drop table seda.vector_comparisons, seda.vector_routes, seda.vector_indexes,
            seda.artists_sketches, seda.playlists_sketches, seda.rooms_sketches;
        drop view seda.artists_searchable, seda.playlists_searchable, seda.rooms_searchable;
        drop function seda.follow_artists() cascade;
        drop function seda.follow_playlists() cascade;
        drop function seda.follow_rooms() cascade;
        do $$
        declare
            name text;
        begin
            for name in select indexname from pg_indexes
                        where schemaname = 'seda' and indexname like 'hnsw\\_%'
            loop
                execute format('drop index seda.%I', name);
            end loop;
        end
        $$
        """
    )
