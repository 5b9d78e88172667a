-- The catalogue is in both regions with the same ids.
create table seda.artists (
    id uuid primary key,
    external_ids jsonb not null default '{}',
    name text not null,
    genres text[] not null default '{}',
    popularity_score double precision not null default 0,
    language text,
    created_at timestamptz not null default now(),
    last_updated timestamptz not null default now(),
    deleted_at timestamptz
);
create index idx_artists_genres on seda.artists using gin (genres);

create table seda.artist_genres (
    artist_id uuid not null references seda.artists (id) on delete cascade,
    genre text not null,
    weight real not null check (weight > 0),
    primary key (artist_id, genre)
);
create index idx_artist_genres_genre on seda.artist_genres (genre);

create table seda.playlists (
    id uuid primary key,
    external_ids jsonb not null default '{}',
    name text not null,
    -- The owner's region alone knows the owner; null in the other one.
    owner_user_id uuid references seda.users (id) on delete set null,
    provider text not null default 'seda',
    track_count integer not null default 0,
    genre text,
    language text,
    visibility text not null default 'public' check (visibility in ('public', 'private')),
    created_at timestamptz not null default now(),
    last_updated timestamptz not null default now(),
    deleted_at timestamptz
);
create index idx_playlists_provider on seda.playlists (provider);
create index idx_playlists_owner on seda.playlists (owner_user_id);

create table seda.playlist_artists (
    playlist_id uuid not null references seda.playlists (id) on delete cascade,
    artist_id uuid not null references seda.artists (id) on delete cascade,
    position integer not null,
    primary key (playlist_id, artist_id)
);
create index idx_playlist_artists_artist on seda.playlist_artists (artist_id);

create table seda.rooms (
    id uuid primary key,
    external_ids jsonb not null default '{}',
    name text not null,
    created_by uuid references seda.users (id) on delete set null,
    genre text,
    cover_art_url text,
    current_participants integer not null default 0 check (current_participants >= 0),
    language text,
    created_at timestamptz not null default now(),
    last_updated timestamptz not null default now(),
    deleted_at timestamptz
);
create index idx_rooms_genre on seda.rooms (genre);
create index idx_rooms_created_by on seda.rooms (created_by);
