create table seda.users (
    id uuid primary key default gen_random_uuid(),
    auth_user_id text unique,
    created_at timestamptz not null default now(),
    dob date,
    region text not null default seda.database_region() check (region = seda.database_region()),
    country text check (country ~ '^[A-Z]{2}$'),
    role text not null default 'user' check (role in ('user', 'artist', 'admin', 'super_admin')),
    preferences jsonb not null default '{}',
    privacy_settings jsonb not null default '{}',
    deleted_at timestamptz,
    display_name text,
    avatar_url text,
    time_zone text not null default 'UTC',
    email text,
    external_ids jsonb not null default '{}',
    -- 64 buckets by the last byte of the id; a shard is a contiguous range of buckets.
    bucket smallint not null generated always as (get_byte(uuid_send(id), 15) % 64) stored
);
create index idx_users_auth_user_id on seda.users (auth_user_id);
create index idx_users_bucket on seda.users (bucket);

-- Only the global database holds rows: it says which region to ask for a token's subject.
create table seda.region_directory (
    auth_user_id text primary key,
    user_id uuid not null unique,
    region text not null check (region in ('global', 'eu')),
    created_at timestamptz not null default now()
);

create table seda.linked_accounts (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references seda.users (id) on delete cascade,
    provider text not null,
    external_user_id text,
    scopes jsonb not null default '[]',
    refresh_token_encrypted bytea,
    access_token_expires_at timestamptz,
    last_synced_at timestamptz,
    created_at timestamptz not null default now(),
    -- Apple Music user tokens are never stored (LNK-2).
    check (provider <> 'apple' or refresh_token_encrypted is null)
);
create unique index idx_linked_accounts_user_provider on seda.linked_accounts (user_id, provider);

-- A friendship is two rows. The friend may live in the other region: no foreign key.
create table seda.friends (
    user_id uuid not null references seda.users (id) on delete cascade,
    friend_user_id uuid not null,
    relationship_type text not null default 'friend'
        check (relationship_type in ('friend', 'follow', 'block')),
    created_at timestamptz not null default now(),
    primary key (user_id, friend_user_id, relationship_type),
    check (user_id <> friend_user_id)
);
create index idx_friends_user on seda.friends (user_id);
create index idx_friends_friend on seda.friends (friend_user_id);

create table seda.user_profiles (
    user_id uuid primary key references seda.users (id) on delete cascade,
    top_artists uuid[] not null default '{}',
    top_genres text[] not null default '{}',
    top_playlists uuid[] not null default '{}',
    last_computed timestamptz not null default now(),
    privacy_flags jsonb not null default '{}',
    deleted_at timestamptz
);

create table seda.notification_preferences (
    user_id uuid primary key references seda.users (id) on delete cascade,
    push_opt_in boolean not null default false,
    toasts_enabled boolean not null default true,
    quiet_from time,
    quiet_to time,
    updated_at timestamptz not null default now(),
    check ((quiet_from is null) = (quiet_to is null))
);

create table seda.device_tokens (
    token text primary key,
    user_id uuid not null references seda.users (id) on delete cascade,
    platform text not null check (platform in ('ios', 'android', 'web')),
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
);
create index idx_device_tokens_user on seda.device_tokens (user_id);

create table seda.experiment_assignments (
    user_id uuid not null references seda.users (id) on delete cascade,
    experiment text not null,
    arm text not null,
    assigned_at timestamptz not null default now(),
    primary key (user_id, experiment)
);

create table seda.privacy_jobs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    kind text not null check (kind in ('export', 'delete')),
    scope text not null default 'imports' check (scope in ('imports', 'account')),
    status text not null default 'queued'
        check (status in ('queued', 'in_progress', 'completed', 'failed')),
    requested_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    due_at timestamptz,
    attempts integer not null default 0,
    artefact_uri text,
    artefact_expires_at timestamptz,
    failure text
);
create index idx_privacy_jobs_user on seda.privacy_jobs (user_id);

-- Who may never come back: a restored backup or a late writer is checked against it.
create table seda.tombstones (
    user_id uuid primary key,
    scope text not null check (scope in ('imports', 'account')),
    created_at timestamptz not null default now(),
    purged_at timestamptz
);

create table seda.audit_log (
    id bigint generated always as identity primary key,
    occurred_at timestamptz not null default now(),
    actor text not null,
    action text not null,
    subject text,
    details jsonb not null default '{}'
);
