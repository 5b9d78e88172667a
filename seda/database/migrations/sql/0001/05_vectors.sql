-- An embedding space is (provider, model, dim, version, region); vectors of two spaces never mix.
create table seda.embedding_spaces (
    id text primary key,
    provider text not null,
    model text not null,
    dim integer not null check (dim > 0),
    version text not null,
    region text not null default seda.database_region() check (region = seda.database_region()),
    state text not null check (state in ('active', 'standby', 'shadow', 'retired')),
    created_at timestamptz not null default now(),
    unique (provider, model, dim, version, region)
);
create unique index one_active_embedding_space on seda.embedding_spaces (region)
    where state = 'active';

do $$
declare
    entity text;
begin
    foreach entity in array array['artists', 'playlists', 'rooms', 'user'] loop
        execute format($ddl$
            create table seda.%1$s_vectors (
                space_id text not null references seda.embedding_spaces (id),
                entity_id uuid not null %2$s,
                embedding halfvec not null,
                content_hash text not null,
                region text not null default seda.database_region()
                    check (region = seda.database_region()),
                computed_at timestamptz not null default now(),
                primary key (space_id, entity_id)
            )$ddl$, entity,
            case entity when 'user' then 'references seda.users (id) on delete cascade'
                        else format('references seda.%s (id) on delete cascade', entity) end);
        -- Inline: a row of 3 KB fits a page, and reading all vectors skips the TOAST table.
        execute format('alter table seda.%s_vectors alter column embedding set storage plain',
                       entity);
    end loop;
end
$$;

create table seda.embeddings_audit (
    entity_uuid uuid not null,
    entity_type text not null check (entity_type in ('artist', 'playlist', 'room', 'user')),
    provider text not null,
    model text not null,
    dim integer not null,
    region text not null default seda.database_region() check (region = seda.database_region()),
    version text not null,
    computed_at timestamptz not null,
    deleted_at timestamptz
);
create index idx_embeddings_audit_entity on seda.embeddings_audit (entity_type, entity_uuid);

-- The ledger: reserve before the request, settle after it (EMB-5).
create table seda.embedding_spend (
    id uuid primary key default gen_random_uuid(),
    provider text not null,
    model text not null,
    job text not null,
    state text not null check (state in ('reserved', 'settled', 'released')),
    tokens bigint not null check (tokens >= 0),
    usd numeric(12, 6) not null check (usd >= 0),
    worker text not null,
    reserved_at timestamptz not null default now(),
    expires_at timestamptz not null,
    settled_at timestamptz
);
create index idx_embedding_spend_reserved_at on seda.embedding_spend (reserved_at);

create function seda.embedding_meta(space seda.embedding_spaces, computed_at timestamptz)
returns jsonb language sql stable as $$
    select jsonb_build_object('provider', space.provider, 'model', space.model, 'dim', space.dim,
        'region', space.region, 'version', space.version, 'computed_at', computed_at)
$$;
grant execute on function seda.embedding_meta(seda.embedding_spaces, timestamptz)
    to anon, authenticated, service_role;

-- Owners are not among the columns: a person's id is nobody's business.
create view seda.artists_embedded with (security_invoker = true) as
    select a.*, v.embedding, seda.embedding_meta(s, v.computed_at) as embedding_meta
    from seda.artists a
    left join seda.embedding_spaces s on s.state = 'active'
    left join seda.artists_vectors v on v.space_id = s.id and v.entity_id = a.id;
create view seda.playlists_embedded with (security_invoker = true) as
    select p.id, p.external_ids, p.name, p.provider, p.track_count, p.genre, p.language,
           p.visibility, p.created_at, v.embedding,
           seda.embedding_meta(s, v.computed_at) as embedding_meta
    from seda.playlists p
    left join seda.embedding_spaces s on s.state = 'active'
    left join seda.playlists_vectors v on v.space_id = s.id and v.entity_id = p.id;
create view seda.rooms_embedded with (security_invoker = true) as
    select r.id, r.external_ids, r.name, r.genre, r.cover_art_url, r.current_participants,
           r.language, r.created_at, v.embedding,
           seda.embedding_meta(s, v.computed_at) as embedding_meta
    from seda.rooms r
    left join seda.embedding_spaces s on s.state = 'active'
    left join seda.rooms_vectors v on v.space_id = s.id and v.entity_id = r.id;
create view seda.user_profiles_embedded with (security_invoker = true) as
    select p.*, v.embedding as taste_embedding,
           seda.embedding_meta(s, v.computed_at) as embedding_meta
    from seda.user_profiles p
    left join seda.embedding_spaces s on s.state = 'active'
    left join seda.user_vectors v on v.space_id = s.id and v.entity_id = p.user_id;
