create table seda.model_registry (
    name text not null,
    version text not null,
    stage text not null default 'shadow'
        check (stage in ('shadow', 'canary', 'active', 'retired')),
    kind text not null,
    config jsonb not null default '{}',
    metrics jsonb not null default '{}',
    artefact_uri text,
    code_version text,
    created_at timestamptz not null default now(),
    stage_changed_at timestamptz not null default now(),
    primary key (name, version)
);
create unique index one_active_model on seda.model_registry (name) where stage = 'active';

insert into seda.model_registry (name, version, stage, kind, config) values (
    'blend', 'linear-design-1', 'active', 'linear',
    '{"content": 0.5, "collaborative": 0.25, "social": 0.15, "popularity": 0.1}'
);

create table seda.generations (
    generation bigint generated always as identity primary key,
    shard text not null,
    model_version text not null,
    state text not null default 'loading'
        check (state in ('loading', 'published', 'superseded', 'dropped')),
    run_id text,
    data_versions jsonb not null default '{}',
    row_counts jsonb not null default '{}',
    created_at timestamptz not null default now(),
    published_at timestamptz,
    superseded_at timestamptz
);
create index idx_generations_shard on seda.generations (shard, generation);

create table seda.generation_pointer (
    shard text not null,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    arm text not null default 'control',
    generation bigint not null references seda.generations (generation),
    flipped_at timestamptz not null default now(),
    primary key (shard, entity_type, arm)
);

-- One partition per generation: loaded beside, attached, and dropped whole. id is UUIDv5 of user,
-- type and entity, so it survives a new generation.
create table seda.recommendations (
    id uuid not null,
    generation bigint not null,
    user_id uuid not null,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid not null,
    rank integer not null check (rank >= 1),
    score double precision not null check (score between 0 and 1),
    model_version text not null,
    source text not null default 'batch' check (source in ('batch', 'real-time')),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    dismissed boolean not null default false,
    dismissed_until timestamptz,
    context jsonb not null default '{}',
    primary key (generation, user_id, id)
) partition by list (generation);
create index idx_recs_user_created_at on seda.recommendations (user_id, created_at);
create index idx_recs_user_entity on seda.recommendations (user_id, entity_id);

-- The feed's read model: one row per person and type, cards ready as JSON text, best first.
create table seda.mv_user_top_candidates (
    generation bigint not null,
    user_id uuid not null,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    recommendation_ids uuid[] not null,
    entity_ids uuid[] not null,
    scores real[] not null,
    cards text[] not null,
    model_version text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (generation, user_id, entity_type)
) partition by list (generation);

-- Compression would be paid on every read: a person's fifty cards are 15 KB.
alter table seda.mv_user_top_candidates alter column cards set storage external;

-- Live: joined at read time, so that no recompute can bring back what a person dismissed.
create table seda.suppressions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references seda.users (id) on delete cascade,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid not null,
    kind text not null check (kind in ('dismiss', 'not_interested', 'never')),
    created_at timestamptz not null default now(),
    suppressed_until timestamptz,
    undo_until timestamptz,
    unique (user_id, entity_type, entity_id),
    check ((kind = 'never') = (suppressed_until is null))
);

create table seda.impressions (
    id uuid not null,
    user_id uuid not null,
    recommendation_id uuid not null,
    generation bigint,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid not null,
    surface text not null,
    position integer not null check (position >= 1),
    propensity real not null default 1 check (propensity > 0 and propensity <= 1),
    features real[],
    model_version text not null,
    arm text not null default 'control',
    request_id text,
    shown_at timestamptz not null,
    primary key (shown_at, id)
) partition by range (shown_at);
create index idx_impressions_user on seda.impressions (user_id, shown_at);
create table seda.impressions_default partition of seda.impressions default;

create table seda.notification_log (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references seda.users (id) on delete cascade,
    channel text not null check (channel in ('toast', 'push')),
    decision text not null check (decision in ('sent', 'merged', 'suppressed', 'failed')),
    reason text not null,
    entity_type text,
    entity_id uuid,
    session_id text,
    score double precision,
    decided_at timestamptz not null default now()
);
create index idx_notification_log_user on seda.notification_log (user_id, decided_at);
