-- The caller's entry in the directory: made once, with the region that is wanted, and told again
-- afterwards. The id is ours, so nobody can take another person's.
create function seda.register_listener(wanted text)
returns table (user_id uuid, region text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if seda.database_region() <> 'global' then
        raise exception 'only the global database has a directory';
    end if;
    insert into seda.region_directory (auth_user_id, user_id, region)
    select sub::text, gen_random_uuid(), wanted from (select auth.uid()) as token(sub)
    where sub is not null
    on conflict (auth_user_id) do nothing;
    return query select d.user_id, d.region from seda.region_directory d
        where d.auth_user_id = (select auth.uid())::text;
end
$$;

-- What onboarding knows of the caller's taste, until the night computes it: the chosen genres, and
-- the mean direction of the genres' centroids in the active space (each of the 200 artists that
-- carry the genre most). Who has listened already keeps what was computed.
--
-- The functions of pgvector are named by the schema that it is installed in, because the search
-- path is empty.
create function seda.seed_taste(genres text[], at timestamptz) returns void
language plpgsql security definer set search_path = '' as $$
declare
    me uuid := (select seda.current_user_id());
    vectors text := (select quote_ident(n.nspname) from pg_extension e
                     join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
begin
    if me is null or exists (select from seda.activity_counts c where c.user_id = me) then
        return;
    end if;
    insert into seda.user_profiles as p (user_id, top_genres, privacy_flags, last_computed)
    select me, genres, u.privacy_settings, at from seda.users u where u.id = me
    on conflict (user_id) do update set top_genres = excluded.top_genres, last_computed = at
    where p.top_artists = '{}';
    execute replace($query$
        with space as (
            select s.* from seda.embedding_spaces s where s.state = 'active'
        ), centroids as (
            select {v}.l2_normalize({v}.avg(v.embedding)) as centroid
            from unnest($1) as chosen(genre)
            cross join lateral (
                select g.artist_id from seda.artist_genres g where g.genre = chosen.genre
                order by g.weight desc, g.artist_id limit 200
            ) carrier
            join space s on true
            join seda.artists_vectors v on v.space_id = s.id and v.entity_id = carrier.artist_id
            group by chosen.genre
        ), taste as (
            select {v}.l2_normalize({v}.avg(centroid)) as embedding from centroids
        ), stored as (
            insert into seda.user_vectors as u
                (space_id, entity_id, embedding, content_hash, computed_at)
            select s.id, $2, t.embedding, 'onboarding', $3
            from space s join taste t on {v}.l2_norm(t.embedding) > 0.5
            on conflict (space_id, entity_id) do update
            set embedding = excluded.embedding, content_hash = excluded.content_hash,
                computed_at = excluded.computed_at
            returning 1
        )
        insert into seda.embeddings_audit
            (entity_uuid, entity_type, provider, model, dim, version, computed_at)
        select $2, 'user', s.provider, s.model, s.dim, s.version, $3 from space s join stored on true
        $query$, '{v}', vectors) using genres, me, at;
end
$$;

-- A device belongs to who registered it last; the row of who had it before is hidden from them.
-- True if the token is new here.
create function seda.register_device(device_token text, device_platform text, at timestamptz)
returns boolean language sql security definer set search_path = '' as $$
    insert into seda.device_tokens as d (token, user_id, platform, created_at, last_seen_at)
    select device_token, me, device_platform, at, at
    from (select seda.current_user_id()) as caller(me) where me is not null
    on conflict (token) do update
    set user_id = excluded.user_id, platform = excluded.platform, last_seen_at = at,
        created_at = case when d.user_id = excluded.user_id then d.created_at else at end
    returning xmax = 0
$$;

revoke execute on function seda.register_listener(text), seda.seed_taste(text[], timestamptz),
    seda.register_device(text, text, timestamptz) from public;
grant execute on function seda.register_listener(text), seda.seed_taste(text[], timestamptz),
    seda.register_device(text, text, timestamptz) to authenticated;
