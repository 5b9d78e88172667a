-- A job waits, is worked on for as long as its lease, and is tried again when that runs out.
alter table seda.privacy_jobs
    add next_attempt_at timestamptz not null default now(),
    add leased_until timestamptz;
create unique index one_open_privacy_job on seda.privacy_jobs (user_id, kind, scope)
    where status in ('queued', 'in_progress');
create index idx_privacy_jobs_due on seda.privacy_jobs (next_attempt_at)
    where status in ('queued', 'in_progress');

-- The caller's export: the one that is under way, or a new one.
create function seda.request_export(at timestamptz) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
    me uuid := (select seda.current_user_id());
    job uuid;
begin
    if me is null then
        return null;
    end if;
    insert into seda.privacy_jobs (user_id, kind, scope, requested_at, next_attempt_at, due_at)
    values (me, 'export', 'account', at, at, at + interval '30 days')
    on conflict (user_id, kind, scope) where status in ('queued', 'in_progress') do nothing
    returning id into job;
    return coalesce(job, (select id from seda.privacy_jobs where user_id = me and kind = 'export'
                          and status in ('queued', 'in_progress')));
end
$$;

-- What the caller brought in from providers, gone from every computation with this transaction.
create function seda.withdraw_imports(person uuid, at timestamptz) returns void
language plpgsql set search_path = '' as $$
begin
    insert into seda.tombstones as t (user_id, scope, created_at) values (person, 'imports', at)
    on conflict (user_id) do update
    set created_at = excluded.created_at, purged_at = null, transaction_id = pg_current_xact_id()
    where t.scope = 'imports';
    delete from seda.linked_accounts where user_id = person;
    delete from seda.link_attempts where user_id = person;
    delete from seda.provider_imports where user_id = person;
    delete from seda.import_changes where user_id = person;
    delete from seda.activity_counts where user_id = person and source <> 'seda';
    delete from seda.room_members where user_id = person and source <> 'seda';
    delete from seda.artist_follows where user_id = person and source <> 'seda';
    delete from seda.playlists
    where owner_user_id = person and provider <> 'seda' and visibility = 'private';
    delete from seda.user_vectors where entity_id = person;
    delete from seda.realtime_rankings where user_id = person;
    delete from seda.mv_user_top_candidates where user_id = person;
    delete from seda.recommendations where user_id = person;
    delete from seda.user_activity_summary where user_id = person;
    update seda.user_profiles p
    set top_artists = '{}', top_playlists = '{}', last_computed = at,
        top_genres = array(select jsonb_array_elements_text(
            case jsonb_typeof(u.preferences -> 'genres')
                when 'array' then u.preferences -> 'genres' else '[]' end))
    from seda.users u where p.user_id = person and u.id = person;
end
$$;

-- The caller, gone from every reader's sight with this transaction; the rest is the purge's work.
create function seda.withdraw_person(person uuid, at timestamptz) returns void
language plpgsql set search_path = '' as $$
begin
    insert into seda.tombstones as t (user_id, scope, created_at) values (person, 'account', at)
    on conflict (user_id) do update
    set scope = 'account', purged_at = null, transaction_id = pg_current_xact_id(),
        created_at = case t.scope when 'account' then t.created_at else excluded.created_at end;
    insert into seda.erased_people (digest, erased_at)
    select sha256(uuid_send(person)), at
    union all
    select sha256(convert_to('sub:' || u.auth_user_id, 'UTF8')), at
    from seda.users u where u.id = person and u.auth_user_id is not null
    on conflict (digest) do nothing;
    delete from seda.push_outbox where user_id = person;
    delete from seda.device_tokens where user_id = person;
    delete from seda.presence_holds where user_id = person;
    delete from seda.room_presence where user_id = person;
    delete from seda.realtime_rankings where user_id = person;
    delete from seda.friends where user_id = person or friend_user_id = person;
    update seda.user_profiles set deleted_at = at where user_id = person and deleted_at is null;
    update seda.users set deleted_at = at where id = person and deleted_at is null;
    update seda.privacy_jobs set artefact_expires_at = least(artefact_expires_at, at)
    where user_id = person and kind = 'export';
end
$$;

-- The caller asks for their imports or their account to be deleted: excluded at once, purged within
-- thirty days. Asked again, it is the same job.
create function seda.request_deletion(wanted text, at timestamptz) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
    me uuid := (select seda.current_user_id());
    job uuid;
begin
    if me is null then
        return null;
    end if;
    insert into seda.privacy_jobs (user_id, kind, scope, requested_at, next_attempt_at, due_at)
    values (me, 'delete', wanted, at, at, at + interval '30 days')
    on conflict (user_id, kind, scope) where status in ('queued', 'in_progress') do nothing
    returning id into job;
    if wanted = 'account' then
        perform seda.withdraw_person(me, at);
    else
        perform seda.withdraw_imports(me, at);
    end if;
    job := coalesce(job, (select id from seda.privacy_jobs where user_id = me and kind = 'delete'
                          and scope = wanted and status in ('queued', 'in_progress')));
    insert into seda.audit_log (occurred_at, actor, action, subject, details)
    values (at, 'person', 'privacy.deletion_requested', job, jsonb_build_object('scope', wanted));
    return job;
end
$$;

-- Somebody who was erased stands in a restored backup: asked for again in their name, with a job
-- that the guard of gone people's rows must not drop.
create function seda.delete_again(person uuid, at timestamptz) returns void
language plpgsql set search_path = '' as $$
begin
    delete from seda.erased_people where digest = sha256(uuid_send(person));
    insert into seda.privacy_jobs (user_id, kind, scope, requested_at, next_attempt_at, due_at)
    values (person, 'delete', 'account', at, at, at + interval '30 days')
    on conflict (user_id, kind, scope) where status in ('queued', 'in_progress') do nothing;
    perform seda.withdraw_person(person, at);
end
$$;

-- What a signed link leads to; for the API's own login, which has checked the signature.
create function seda.export_artefact(job uuid)
returns table (artefact_uri text, artefact_expires_at timestamptz, gone boolean)
language sql stable security definer set search_path = '' as $$
    select j.artefact_uri, j.artefact_expires_at, seda.is_gone(j.user_id)
    from seda.privacy_jobs j
    where j.id = job and j.kind = 'export' and j.status = 'completed'
$$;

revoke execute on function
    seda.request_export(timestamptz), seda.withdraw_imports(uuid, timestamptz),
    seda.withdraw_person(uuid, timestamptz), seda.request_deletion(text, timestamptz),
    seda.delete_again(uuid, timestamptz), seda.export_artefact(uuid)
    from public;
grant execute on function seda.request_export(timestamptz),
    seda.request_deletion(text, timestamptz) to authenticated;
grant execute on function seda.withdraw_imports(uuid, timestamptz),
    seda.withdraw_person(uuid, timestamptz), seda.delete_again(uuid, timestamptz) to service_role;
grant usage on schema seda to seda_api;
grant execute on function seda.export_artefact(uuid) to seda_api;
