-- Definer functions: the only ways in which a policy or a person looks past their own rows. Each
-- fixes its search path and applies the rules of privacy inside.
create function seda.current_user_id() returns uuid
language sql stable security definer set search_path = '' as $$
    select id from seda.users
    where auth_user_id = (select auth.uid())::text and deleted_at is null
$$;

create function seda.current_user_role() returns text
language sql stable security definer set search_path = '' as $$
    select role from seda.users
    where auth_user_id = (select auth.uid())::text and deleted_at is null
$$;

-- The caller's own playlists: owners are not among the readable columns, and nobody is
-- recommended what is their own.
create function seda.own_playlist_ids() returns setof uuid
language sql stable security definer set search_path = '' as $$
    select id from seda.playlists where owner_user_id = (select seda.current_user_id())
$$;

-- Which of the caller's friends are in these rooms (SOC-4): friends who hide presence are never
-- named, and are in a count only if a visible friend is there and at least three friends hide.
create function seda.friends_presence(room_ids uuid[])
returns table (room_id uuid, friend_count integer, friends jsonb)
language sql stable security definer set search_path = '' as $$
    with known as (
        select f.friend_user_id, u.display_name, u.avatar_url,
               -- Anything but false hides; a cast would let one person's settings fail the
               -- feeds of all their friends.
               coalesce(u.privacy_settings -> 'hide_presence', 'false') <> 'false' as hidden
        from seda.friends f
        join seda.users u on u.id = f.friend_user_id
        where f.user_id = (select seda.current_user_id())
          and f.relationship_type = 'friend' and u.deleted_at is null
          and not exists (
              select from seda.friends b where b.relationship_type = 'block'
                and ((b.user_id = f.user_id and b.friend_user_id = f.friend_user_id)
                  or (b.user_id = f.friend_user_id and b.friend_user_id = f.user_id)))
    ), present as (
        select p.room_id, k.*,
               row_number() over (partition by p.room_id, k.hidden
                                  order by p.joined_at, k.friend_user_id) as place
        from seda.room_presence p join known k on k.friend_user_id = p.user_id
        where p.room_id = any (room_ids)
    )
    select room_id,
           (count(*) filter (where not hidden)
            + case when (select count(*) from known where hidden) >= 3
                   then count(*) filter (where hidden) else 0 end)::integer,
           jsonb_agg(jsonb_build_object('user_id', friend_user_id, 'name', display_name,
                                        'avatar_url', avatar_url) order by place)
               filter (where not hidden and place <= 4)
    from present group by room_id
    having count(*) filter (where not hidden) > 0
$$;

grant execute on function seda.current_user_id(), seda.current_user_role(),
    seda.own_playlist_ids(), seda.friends_presence(uuid[]) to authenticated, service_role;

-- Day partitions for the event tables; called by retention, ahead of time.
create function seda.ensure_day_partitions(parent regclass, first_day date, days integer)
returns integer language plpgsql set search_path = '' as $$
declare
    bare text := (select relname from pg_catalog.pg_class where oid = parent);
    day date;
    made integer := 0;
begin
    for day in select first_day + n from generate_series(0, days - 1) as n loop
        if to_regclass(format('seda.%I', bare || to_char(day, '_YYYYMMDD'))) is null then
            execute format('create table seda.%I partition of seda.%I for values from (%L) to (%L)',
                bare || to_char(day, '_YYYYMMDD'), bare, day, day + 1);
            execute format('alter table seda.%I enable row level security',
                bare || to_char(day, '_YYYYMMDD'));
            execute format('alter table seda.%I force row level security',
                bare || to_char(day, '_YYYYMMDD'));
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;
grant execute on function seda.ensure_day_partitions(regclass, date, integer) to service_role;
