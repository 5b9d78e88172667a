-- How a link is: what a person sees, and when it is looked at next.
--   pending  linked, the first import is under way     linked   imported, and followed
--   waiting  the provider refuses for now; `problem` says why, `next_sync_at` when again
--   revoked  the provider takes our token no more: the person has to link again
-- `marks` is what the provider said of what was read, so that the next look reads only changes.
alter table seda.linked_accounts
    add state text not null default 'linked'
        check (state in ('pending', 'linked', 'waiting', 'revoked')),
    add problem text
        check (problem in ('rate_limited', 'unavailable', 'refused', 'unreadable', 'revoked')),
    add attempts integer not null default 0 check (attempts >= 0),
    add next_sync_at timestamptz,
    add leased_until timestamptz,
    add marks jsonb not null default '{}';
create index idx_linked_accounts_due on seda.linked_accounts (next_sync_at)
    where next_sync_at is not null;
grant select (state, problem, next_sync_at) on seda.linked_accounts to authenticated;

-- An authorization that was begun and has not come back. The state itself is kept by nobody but the
-- person's browser and the provider: here is its digest. A row is deleted by whoever uses it.
create table seda.link_attempts (
    state_hash bytea primary key,
    user_id uuid not null references seda.users (id) on delete cascade,
    provider text not null,
    verifier_encrypted bytea not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index idx_link_attempts_user on seda.link_attempts (user_id);
create index idx_link_attempts_expires on seda.link_attempts (expires_at);

-- What came in with a link: how much of it was found in the catalogue, and genres that we know.
-- `staged` is a summary that waits to be mapped, and null afterwards.
create table seda.provider_imports (
    user_id uuid not null references seda.users (id) on delete cascade,
    provider text not null,
    artists integer not null default 0,
    matched_artists integer not null default 0,
    playlists integer not null default 0,
    genres text[] not null default '{}',
    staged jsonb check (octet_length(staged::text) <= 262144),
    staged_at timestamptz,
    imported_at timestamptz,
    primary key (user_id, provider)
);
create index idx_provider_imports_staged on seda.provider_imports (staged_at)
    where staged is not null;

-- Whose imports changed since their lists were made; deleted when they were told of new ones.
create table seda.import_changes (
    user_id uuid primary key references seda.users (id) on delete cascade,
    changed_at timestamptz not null,
    taste_at timestamptz
);

-- Our own standing with providers, sealed: Apple's developer token.
create table seda.provider_credentials (
    name text primary key,
    secret_encrypted bytea not null,
    issued_at timestamptz not null
);

do $$
declare
    name text;
begin
    foreach name in array array[
        'link_attempts', 'provider_imports', 'import_changes', 'provider_credentials']
    loop
        execute format('alter table seda.%I enable row level security', name);
        execute format('alter table seda.%I force row level security', name);
        execute format('grant select, insert, update, delete on seda.%I to service_role', name);
    end loop;
    foreach name in array array['link_attempts', 'provider_imports'] loop
        execute format('create policy own_select on seda.%I for select to authenticated '
                       'using (user_id = (select seda.current_user_id()))', name);
    end loop;
end
$$;
grant select, insert, delete on seda.link_attempts to authenticated;
create policy own_insert on seda.link_attempts for insert to authenticated
    with check (user_id = (select seda.current_user_id()));
create policy own_delete on seda.link_attempts for delete to authenticated
    using (user_id = (select seda.current_user_id()));
grant select (user_id, provider, artists, matched_artists, playlists, genres, imported_at)
    on seda.provider_imports to authenticated;
