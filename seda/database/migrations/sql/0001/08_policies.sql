-- Deny by default: every table that can hold a person's row has forced row-level security, and a
-- role sees only what a policy below names. Catalogue rows are nobody's.
revoke execute on all functions in schema seda from public;

do $$
declare
    name text;
begin
    foreach name in array array[
        'users', 'region_directory', 'linked_accounts', 'friends', 'user_profiles',
        'notification_preferences', 'device_tokens', 'experiment_assignments', 'privacy_jobs',
        'tombstones', 'audit_log', 'playlists', 'rooms', 'activity_counts', 'room_members',
        'artist_follows', 'user_activity_summary', 'fact_events', 'social_events',
        'social_events_default', 'event_receipts', 'room_presence', 'user_vectors',
        'embeddings_audit', 'recommendations', 'mv_user_top_candidates', 'suppressions',
        'impressions', 'impressions_default', 'notification_log']
    loop
        execute format('alter table seda.%I enable row level security', name);
        execute format('alter table seda.%I force row level security', name);
    end loop;

    -- What a person may read of their own, and nothing else of anybody's.
    foreach name in array array[
        'linked_accounts', 'friends', 'user_profiles', 'notification_preferences',
        'device_tokens', 'experiment_assignments', 'privacy_jobs', 'activity_counts',
        'room_members', 'artist_follows', 'user_activity_summary', 'fact_events',
        'room_presence', 'recommendations', 'mv_user_top_candidates', 'suppressions',
        'impressions', 'notification_log']
    loop
        execute format('create policy own_select on seda.%I for select to authenticated '
                       'using (user_id = (select seda.current_user_id()))', name);
        if name <> 'linked_accounts' then
            execute format('grant select on seda.%I to authenticated', name);
        end if;
    end loop;

    -- What a person may record.
    foreach name in array array[
        'notification_preferences', 'device_tokens', 'suppressions', 'impressions', 'fact_events',
        'social_events', 'event_receipts']
    loop
        execute format('create policy own_insert on seda.%I for insert to authenticated '
                       'with check (user_id = (select seda.current_user_id()))', name);
        execute format('grant insert on seda.%I to authenticated', name);
    end loop;
    foreach name in array array['notification_preferences', 'device_tokens', 'suppressions'] loop
        execute format('create policy own_update on seda.%I for update to authenticated '
                       'using (user_id = (select seda.current_user_id())) '
                       'with check (user_id = (select seda.current_user_id()))', name);
        execute format('create policy own_delete on seda.%I for delete to authenticated '
                       'using (user_id = (select seda.current_user_id()))', name);
        execute format('grant update, delete on seda.%I to authenticated', name);
    end loop;
end
$$;

grant select (id, user_id, provider, external_user_id, scopes, last_synced_at, created_at)
    on seda.linked_accounts to authenticated;
create policy own_delete on seda.linked_accounts for delete to authenticated
    using (user_id = (select seda.current_user_id()));
grant delete on seda.linked_accounts to authenticated;

-- users: the subject of the token, directly, so that no policy recurses through this table.
create policy own_select on seda.users for select to authenticated
    using (auth_user_id = (select auth.uid())::text);
create policy own_insert on seda.users for insert to authenticated
    with check (auth_user_id = (select auth.uid())::text and role = 'user' and deleted_at is null);
create policy own_update on seda.users for update to authenticated
    using (auth_user_id = (select auth.uid())::text and deleted_at is null)
    with check (auth_user_id = (select auth.uid())::text and deleted_at is null);
grant select on seda.users to authenticated;
grant insert (id, auth_user_id, region, country, dob, preferences, privacy_settings, display_name,
    avatar_url, time_zone, email) on seda.users to authenticated;
grant update (preferences, privacy_settings, display_name, avatar_url, time_zone)
    on seda.users to authenticated;

create policy own_select on seda.region_directory for select to authenticated
    using (auth_user_id = (select auth.uid())::text);
grant select on seda.region_directory to authenticated;

create policy own_select on seda.user_vectors for select to authenticated
    using (entity_id = (select seda.current_user_id()));
grant select on seda.user_vectors to authenticated;

create policy visible_select on seda.playlists for select to authenticated
    using (deleted_at is null
           and (visibility = 'public' or owner_user_id = (select seda.current_user_id())));
create policy visible_select_anon on seda.playlists for select to anon
    using (deleted_at is null and visibility = 'public');
create policy visible_select on seda.rooms for select to anon, authenticated
    using (deleted_at is null);
create policy owner_or_admin_update on seda.rooms for update to authenticated
    using (created_by = (select seda.current_user_id())
           or (select seda.current_user_role()) in ('admin', 'super_admin'))
    with check (created_by = (select seda.current_user_id())
           or (select seda.current_user_role()) in ('admin', 'super_admin'));
grant update (name, genre, cover_art_url, language) on seda.rooms to authenticated;

-- A person's id is nobody's business: catalogue owners are not among the readable columns.
grant select (id, external_ids, name, provider, track_count, genre, language, visibility,
    created_at, last_updated, deleted_at) on seda.playlists to anon, authenticated;
grant select (id, external_ids, name, genre, cover_art_url, current_participants, language,
    created_at, last_updated, deleted_at) on seda.rooms to anon, authenticated;
grant select on seda.artists, seda.artist_genres, seda.embedding_spaces, seda.artists_vectors,
    seda.playlists_vectors, seda.rooms_vectors, seda.entity_popularity, seda.mv_genre_top_rooms,
    seda.genre_top_entities to anon, authenticated;
grant select on seda.artists_embedded, seda.playlists_embedded, seda.rooms_embedded
    to anon, authenticated;
grant select on seda.user_profiles_embedded to authenticated;
grant select on seda.generations, seda.generation_pointer to authenticated;
-- playlist_artists of a private playlist would tell of a person: read through the playlist.
alter table seda.playlist_artists enable row level security;
alter table seda.playlist_artists force row level security;
create policy visible_select on seda.playlist_artists for select to anon, authenticated
    using (exists (select from seda.playlists p where p.id = playlist_id));
grant select on seda.playlist_artists to anon, authenticated;

grant select, insert, update, delete on all tables in schema seda to service_role;
grant usage on all sequences in schema seda to service_role;
