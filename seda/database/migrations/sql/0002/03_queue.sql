-- Entities whose text waits for a vector of a space (EMB-4). The text itself is the catalogue's:
-- whoever drains the queue embeds what the entity says then.
create table seda.embedding_queue (
    space_id text not null references seda.embedding_spaces (id) on delete cascade,
    entity_type text not null check (entity_type in ('artist', 'playlist', 'room')),
    entity_id uuid not null,
    content_hash text not null,
    reason text not null,
    attempts integer not null default 1 check (attempts >= 1),
    enqueued_at timestamptz not null,
    retry_at timestamptz not null,
    primary key (space_id, entity_type, entity_id)
);
create index idx_embedding_queue_retry_at on seda.embedding_queue (retry_at);

-- One row per statement and type whose texts it may have changed, for the sensor. The
-- transaction's id lets a reader stop below the oldest open transaction: ids do not commit in order.
create table seda.catalogue_changes (
    id bigint generated always as identity primary key,
    transaction_id xid8 not null default pg_current_xact_id(),
    entity_type text not null check (entity_type in ('artist', 'playlist', 'room')),
    changed_at timestamptz not null default now()
);

-- A statement that changed nothing is not logged: an import that finds all as it was asks for no run.
create function seda.log_catalogue_change() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    changed boolean;
begin
    if tg_op = 'UPDATE' then
        execute format('select exists (select %1$s from after_it except all select %1$s from '
                       'before_it)', tg_argv[1]) into changed;
    elsif tg_op = 'INSERT' then
        changed := exists (select from after_it);
    else
        changed := exists (select from before_it);
    end if;
    if changed then
        insert into seda.catalogue_changes (entity_type)
        select kind from unnest(string_to_array(tg_argv[0], ',')) as t(kind);
    end if;
    return null;
end
$$;

do $$
declare
    watched record;
begin
    for watched in select * from (values
        -- A playlist's text names its artists and their genres.
        ('artists', 'artist,playlist', 'id, name, deleted_at'),
        ('artist_genres', 'artist,playlist', 'artist_id, genre, weight'),
        ('playlists', 'playlist', 'id, name, genre, visibility, deleted_at'),
        ('playlist_artists', 'playlist', 'playlist_id, artist_id, position'),
        ('rooms', 'room', 'id, name, genre, deleted_at')
    ) as w(relation, entity_types, columns)
    loop
        execute format(
            'create trigger log_inserted after insert on seda.%I '
            'referencing new table as after_it for each statement '
            'execute function seda.log_catalogue_change(%L)',
            watched.relation, watched.entity_types);
        execute format(
            'create trigger log_deleted after delete on seda.%I '
            'referencing old table as before_it for each statement '
            'execute function seda.log_catalogue_change(%L)',
            watched.relation, watched.entity_types);
        execute format(
            'create trigger log_updated after update on seda.%I '
            'referencing old table as before_it new table as after_it for each statement '
            'execute function seda.log_catalogue_change(%L, %L)',
            watched.relation, watched.entity_types, watched.columns);
    end loop;
end
$$;
