-- As before (0012), and every row says in which arm the person is: the API counts by it, and asked
-- for it apart.
drop function seda.live_lists(text, text[], bigint[], integer, timestamptz);
create function seda.live_lists(
    acting text, types text[], generations bigint[], shards integer, at timestamptz
) returns table (
    user_id uuid, deleted boolean, suppressed bytea, shown bytea, events jsonb, touched bytea,
    entity_type text, generation bigint, expires_at timestamptz, model_version text,
    entity_ids bytea, cards text[], is_new boolean[], genres text[], present jsonb,
    ranks smallint[], scores real[], presence real[], lifts real[], arm text
) language plpgsql stable
-- A plan that was made while a table was empty is kept: it must not read the whole of it.
set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    me seda.users.id%type;
    gone boolean;
    mine text;
    my_arm text;
    kind text;
    wanted bigint[] := generations;
    served bigint;
    pointed bigint[];
    happened jsonb;
    about bytea;
    moved record;
begin
    if acting is distinct from 'authenticated' or current_user <> 'authenticated' then
        raise insufficient_privilege using message = 'Lists are read as the person they are of.';
    end if;
    select u.id, u.deleted_at is not null,
           -- No shard, and so no list, for who wants no recommendations, from this moment on.
           case when coalesce(u.privacy_settings -> 'recommendations', 'true') <> 'false' then
               u.region || '-' || lpad((((u.bucket + 1) * shards - 1) / 64)::text, 2, '0') end,
           coalesce((select seda.arm_of(e.name, u.id, e.share)
                     from seda.experiments e where e.serving), 'control')
    into me, gone, mine, my_arm
    from seda.users u where u.auth_user_id = (select auth.uid())::text;
    if me is null then
        return;
    end if;
    -- What an event is about is what a person's app sent: a uuid only if it looks like one.
    select jsonb_agg(jsonb_build_array(e.kind, e.age, case
               when e.kind in ('rec_click', 'listen_30s', 'room_join') then coalesce(
               (select o.genre from seda.artist_genres o where o.artist_id = e.entity_id
                order by o.weight desc, o.genre limit 1),
               (select o.genre from seda.rooms o where o.id = e.entity_id),
               (select o.genre from seda.playlists o where o.id = e.entity_id)) end)),
           array_send(array_agg(e.entity_id))
    into happened, about
    from (select v.event_type as kind, extract(epoch from at - v.created_at)::float8 as age,
                 case when v.props ->> 'entity_id'
                           ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                      then (v.props ->> 'entity_id')::uuid
                      else '00000000-0000-0000-0000-000000000000' end as entity_id
          from seda.fact_events v
          where v.user_id = me and v.created_at > at - interval '24 hours'
          order by v.created_at desc limit 50) e;
    return query select me, gone,
        (select array_send(array_agg(s.entity_id)) from seda.suppressions s
         where s.user_id = me and (s.suppressed_until is null or s.suppressed_until > at)),
        (select array_send(array_agg(i.entity_id)) from (
             select unnest(n.entity_ids) as entity_id from seda.impression_pages n
             where n.user_id = me and n.shown_at > at - interval '24 hours' and not n.again
             order by n.shown_at desc limit 200) i),
        happened, about, null::text, null::bigint, null::timestamptz, null::text,
        null::bytea, null::text[], null::boolean[], null::text[], null::jsonb,
        null::smallint[], null::real[], null::real[], null::real[], my_arm;
    if mine is null then
        wanted := '{}';
    elsif wanted is null then
        foreach kind in array types loop
            select p.generation into served from seda.generation_pointer p
            where p.shard = mine and p.entity_type = kind and p.arm = my_arm;
            if served is null and my_arm <> 'control' then  -- a shard that is new since it started
                select p.generation into served from seda.generation_pointer p
                where p.shard = mine and p.entity_type = kind and p.arm = 'control';
            end if;
            pointed := array_append(pointed, served);
            if served is not null and served <> all (coalesce(wanted, '{}')) then
                wanted := wanted || served;
            end if;
        end loop;
    end if;
    select o.generation, o.ranks, o.scores, o.presence, o.lifts into moved
    from seda.realtime_rankings o
    where mine is not null and o.user_id = me and o.entity_type = 'room' and o.expires_at > at;
    foreach served in array coalesce(wanted, '{}') loop
        return query
        select me, gone, null::bytea, null::bytea, null::jsonb, null::bytea,
               l.entity_type, l.generation, l.expires_at, l.model_version,
               array_send(l.entity_ids), l.cards, l.is_new,
               case when happened is not null then l.genres end,
               case when l.entity_type = 'room' then (
                   select jsonb_agg(jsonb_build_array(f.room_id, f.friend_count, f.friends,
                       array(select extract(epoch from at - each) from unnest(f.seen_at) as each)))
                   from seda.friends_presence(l.entity_ids) f) end,
               case when l.entity_type = 'room' and moved.generation = served then moved.ranks end,
               case when l.entity_type = 'room' and moved.generation = served then moved.scores end,
               case when l.entity_type = 'room' and moved.generation = served
                    then moved.presence else l.presence end,
               case when l.entity_type = 'room' and moved.generation = served
                    then moved.lifts else l.lifts end,
               my_arm
        from seda.mv_user_top_candidates l
        where l.generation = served and l.user_id = me and l.entity_type = any (types)
          -- A generation may have types for which another one is served.
          and (pointed is null or pointed[array_position(types, l.entity_type)] = served);
    end loop;
end
$$;
revoke execute on function seda.live_lists(text, text[], bigint[], integer, timestamptz) from public;
grant execute on function seda.live_lists(text, text[], bigint[], integer, timestamptz)
    to authenticated, seda_api;
