-- The durable truth of listening, per source, so that one provider's imports can be taken out.
create table seda.activity_counts (
    user_id uuid not null references seda.users (id) on delete cascade,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid not null,
    source text not null,
    period date not null,
    plays bigint not null check (plays > 0),
    primary key (user_id, entity_type, entity_id, source, period)
);
create index idx_activity_counts_entity on seda.activity_counts (entity_type, entity_id);

-- Up to which event the counts were merged, one row per stream.
create table seda.activity_watermarks (
    stream text primary key,
    watermark bigint not null,
    updated_at timestamptz not null default now()
);

create table seda.room_members (
    room_id uuid not null references seda.rooms (id) on delete cascade,
    user_id uuid not null references seda.users (id) on delete cascade,
    source text not null default 'seda',
    joined_at timestamptz not null,
    last_joined_at timestamptz not null,
    primary key (room_id, user_id)
);
create index idx_room_members_user on seda.room_members (user_id);

create table seda.artist_follows (
    user_id uuid not null references seda.users (id) on delete cascade,
    artist_id uuid not null references seda.artists (id) on delete cascade,
    source text not null default 'seda',
    created_at timestamptz not null default now(),
    primary key (user_id, artist_id)
);

create table seda.user_activity_summary (
    user_id uuid primary key references seda.users (id) on delete cascade,
    listens jsonb not null default '[]',
    room_memberships jsonb not null default '{}',
    follows jsonb not null default '[]',
    last_updated timestamptz not null default now()
);

-- Transient analytics (30 days): no raw log of plays is kept.
create table seda.fact_events (
    id bigint generated always as identity primary key,
    event_id uuid not null unique,
    user_id uuid not null references seda.users (id) on delete cascade,
    event_type text not null
        check (event_type in ('rec_click', 'listen_30s', 'rec_dismiss', 'track_skip', 'room_join')),
    props jsonb not null default '{}',
    created_at timestamptz not null default now()
);
create index idx_fact_events_user on seda.fact_events (user_id, created_at);
create index idx_fact_events_created on seda.fact_events (created_at);

-- Append-only, partitioned by day, seven days. Uniqueness of the event id lives in
-- event_receipts, because a unique key here would have to contain the partition key.
create table seda.social_events (
    id bigint generated always as identity,
    event_id uuid not null,
    user_id uuid not null,
    kind text not null check (kind in ('join', 'leave', 'vote', 'follow', 'listen')),
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid not null,
    props jsonb not null default '{}',
    occurred_at timestamptz not null,
    received_at timestamptz not null default now(),
    transaction_id xid8 not null default pg_current_xact_id(),
    primary key (received_at, id)
) partition by range (received_at);
create index idx_social_events_id on seda.social_events (id);
create index idx_social_events_user on seda.social_events (user_id, received_at);
create table seda.social_events_default partition of seda.social_events default;

create table seda.event_receipts (
    event_id uuid primary key,
    user_id uuid not null,
    body_hash bytea not null,
    received_at timestamptz not null default now()
);
create index idx_event_receipts_received on seda.event_receipts (received_at);

create table seda.room_presence (
    room_id uuid not null references seda.rooms (id) on delete cascade,
    user_id uuid not null references seda.users (id) on delete cascade,
    connections integer not null default 1 check (connections > 0),
    joined_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (room_id, user_id)
);
create index idx_room_presence_user on seda.room_presence (user_id);

-- Decayed popularity of every catalogue entity in this region (dbt_like_sql/).
create table seda.entity_popularity (
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid not null,
    plays bigint not null,
    listeners bigint not null,
    popularity double precision not null,
    trending double precision not null,
    recency double precision not null,
    last_updated timestamptz not null default now(),
    primary key (entity_type, entity_id)
);

create table seda.mv_genre_top_rooms (
    genre text not null,
    rank integer not null,
    room_id uuid not null,
    score double precision not null,
    last_updated timestamptz not null default now(),
    primary key (genre, room_id)
);

-- The fall-back lists of the feed; the genre '*' holds what trends everywhere.
create table seda.genre_top_entities (
    genre text not null,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    rank integer not null,
    entity_id uuid not null,
    name text not null,
    score double precision not null,
    last_updated timestamptz not null default now(),
    primary key (genre, entity_type, entity_id)
);
