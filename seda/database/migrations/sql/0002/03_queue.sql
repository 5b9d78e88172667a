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

create function seda.log_catalogue_change() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    insert into seda.catalogue_changes (entity_type)
    select changed from unnest(string_to_array(tg_argv[0], ',')) as t(changed);
    return null;
end
$$;

do $$
declare
    watched record;
begin
    for watched in select * from (values
        -- A playlist's text names its artists and their genres.
        ('artists', 'artist,playlist', 'name, deleted_at'),
        ('artist_genres', 'artist,playlist', 'genre, weight'),
        ('playlists', 'playlist', 'name, genre, visibility, deleted_at'),
        ('playlist_artists', 'playlist', 'artist_id, position'),
        ('rooms', 'room', 'name, genre, deleted_at')
    ) as w(relation, entity_types, columns)
    loop
        execute format(
            'create trigger log_catalogue_change after insert or delete or update of %s '
            'on seda.%I for each statement execute function seda.log_catalogue_change(%L)',
            watched.columns, watched.relation, watched.entity_types);
    end loop;
end
$$;
