drop function seda.live_lists(text, text[], bigint[], integer, timestamptz);
drop function seda.record_impressions(uuid[], text[], text[], timestamptz[], integer[], integer[],
    uuid[], text[], uuid[], bigint[], text[]);
drop function seda.friends_presence(uuid[]);
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
revoke execute on function seda.friends_presence(uuid[]) from public;
grant execute on function seda.friends_presence(uuid[]) to authenticated, service_role;
alter table seda.mv_user_top_candidates drop is_new, drop genres;
create or replace function seda.current_user_id() returns uuid
language sql stable security definer set search_path = '' as $$
    select id from seda.users
    where auth_user_id = (select auth.uid())::text and deleted_at is null
$$;
