-- Who may never come back, as digests of their ids and of their tokens' subjects: random as those
-- are, a digest leads back to nobody, and still tells a late writer or a restored row from others.
create table seda.erased_people (
    digest bytea primary key check (length(digest) = 32),
    erased_at timestamptz not null default now()
);

-- Files that were made from somebody who is gone; made again, they are done with.
create table seda.stale_artefacts (
    key text not null,
    job_id uuid not null,
    listed_at timestamptz not null,
    remade_at timestamptz,
    primary key (key, job_id)
);

do $$
declare
    name text;
begin
    foreach name in array array['erased_people', 'stale_artefacts'] loop
        execute format('alter table seda.%I enable row level security', name);
        execute format('alter table seda.%I force row level security', name);
        execute format('grant select, insert, update, delete on seda.%I to service_role', name);
    end loop;
end
$$;

-- A purge begins when every transaction that may not have seen the tombstone has ended.
alter table seda.tombstones add transaction_id xid8 not null default pg_current_xact_id();

create function seda.is_gone(person uuid) returns boolean
language sql stable security definer set search_path = '' as $$
    select exists (select from seda.erased_people where digest = sha256(uuid_send(person)))
$$;
create function seda.is_gone_subject(subject text) returns boolean
language sql stable security definer set search_path = '' as $$
    select exists (select from seda.erased_people
                   where digest = sha256(convert_to('sub:' || subject, 'UTF8')))
$$;
-- The caller's own answer, when their row is no more.
create function seda.caller_is_gone() returns boolean
language sql stable security definer set search_path = '' as $$
    select coalesce(seda.is_gone_subject((select auth.uid())::text), false)
$$;

-- Rows of who is gone are dropped and not refused: a batch holds those of others too. One function
-- per column, because a row as a document would cost more than the row.
do $$
declare
    name text;
begin
    foreach name in array array['user_id', 'entity_id', 'entity_uuid', 'friend_user_id'] loop
        execute format($f$
            create function seda.drop_gone_by_%1$s() returns trigger
            language plpgsql security definer set search_path = '' as $body$
            begin
                -- In this range is nobody: who stands in a stored matrix where somebody was.
                if new.%1$I between '00000000-0000-8000-8000-000000000000'
                                and '00000000-0000-8000-8000-ffffffffffff'
                   or exists (select from seda.erased_people e
                              where e.digest = sha256(uuid_send(new.%1$I))) then
                    return null;
                end if;
                return new;
            end
            $body$;
            revoke execute on function seda.drop_gone_by_%1$s() from public$f$, name);
    end loop;
end
$$;

create function seda.drop_gone_person() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if seda.is_gone(new.id) or seda.is_gone_subject(new.auth_user_id) then
        return null;
    end if;
    return new;
end
$$;
create trigger drop_gone before insert on seda.users
    for each row execute function seda.drop_gone_person();

create function seda.drop_gone_entry() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if seda.is_gone(new.user_id) or seda.is_gone_subject(new.auth_user_id) then
        return null;
    end if;
    return new;
end
$$;
create trigger drop_gone before insert on seda.region_directory
    for each row execute function seda.drop_gone_entry();

-- A delayed import: its provider was unlinked when the person had their imports deleted, and counts
-- again only by a link that was made since.
create function seda.drop_withdrawn_import() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if new.source <> 'seda' and exists (
        select from seda.tombstones t where t.user_id = new.user_id and t.scope = 'imports'
          and not exists (select from seda.linked_accounts l
              where l.user_id = new.user_id and l.provider = new.source
                and l.created_at > t.created_at))
    then
        return null;
    end if;
    return new;
end
$$;

-- What a run that began before computed of imports that are deleted; none takes six hours.
create function seda.imports_just_withdrawn(person uuid) returns boolean
language sql stable security definer set search_path = '' as $$
    select exists (select from seda.tombstones t where t.user_id = person
        and t.scope = 'imports' and t.created_at > seda.clock() - interval '6 hours')
$$;
create function seda.drop_withdrawn_taste() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if new.content_hash <> 'onboarding' and seda.imports_just_withdrawn(new.entity_id) then
        return null;
    end if;
    return new;
end
$$;
create trigger drop_withdrawn before insert or update on seda.user_vectors
    for each row execute function seda.drop_withdrawn_taste();

-- On every table with a person's rows, now and in migrations to come: they call it again.
create function seda.guard_tables() returns integer language plpgsql set search_path = '' as $$
declare
    each record;
    guarded integer := 0;
begin
    for each in
        select c.relname as name, a.attname as col from pg_catalog.pg_class c
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and not a.attisdropped
        where c.relnamespace = 'seda'::regnamespace and c.relkind in ('r', 'p')
          and not c.relispartition
          and (a.attname in ('user_id', 'friend_user_id')
               or (c.relname, a.attname) in
                  (('user_vectors', 'entity_id'), ('embeddings_audit', 'entity_uuid')))
          -- Lists come by the partition (forget_gone), tombstones are what this is about.
          and c.relname not in ('recommendations', 'mv_user_top_candidates', 'tombstones',
                                'region_directory')
          and not exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid
                            and t.tgname = 'drop_gone_by_' || a.attname)
    loop
        execute format('create trigger %I before insert on seda.%I for each row '
                       'execute function seda.%I()',
                       'drop_gone_by_' || each.col, each.name, 'drop_gone_by_' || each.col);
        guarded := guarded + 1;
    end loop;
    for each in select unnest(array['activity_counts', 'room_members', 'artist_follows']) as name
    loop
        if not exists (select from pg_catalog.pg_trigger
                       where tgrelid = format('seda.%I', each.name)::regclass
                         and tgname = 'drop_withdrawn') then
            execute format('create trigger drop_withdrawn before insert on seda.%I for each row '
                           'when (new.source <> ''seda'') '
                           'execute function seda.drop_withdrawn_import()', each.name);
        end if;
    end loop;
    return guarded;
end
$$;
select seda.guard_tables();
-- A device that changes hands is an update.
create trigger drop_gone_update before update of user_id on seda.device_tokens
    for each row when (old.user_id is distinct from new.user_id)
    execute function seda.drop_gone_by_user_id();

-- Takes out of a freshly loaded partition of lists who is gone meanwhile, whose imports are, and
-- the nobody that stands in files where somebody was.
create function seda.forget_gone(lists regclass) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
    forgotten bigint;
begin
    if not exists (select from seda.erased_people) and not exists (select from seda.tombstones) then
        return 0;
    end if;
    execute format('delete from %s where user_id in (
        select p.user_id from (select distinct user_id from %1$s) p
        where p.user_id between ''00000000-0000-8000-8000-000000000000''
                            and ''00000000-0000-8000-8000-ffffffffffff''
           or seda.is_gone(p.user_id) or seda.imports_just_withdrawn(p.user_id))', lists);
    get diagnostics forgotten = row_count;
    return forgotten;
end
$$;

-- Between loading and serving, too; by index, because the flip is short.
create function seda.forget_gone_when_served() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    people uuid[] := array(select user_id from seda.tombstones
        where scope = 'account' or created_at > seda.clock() - interval '6 hours');
begin
    if cardinality(people) > 0 then
        delete from seda.recommendations
        where generation = new.generation and user_id = any (people);
        delete from seda.mv_user_top_candidates
        where generation = new.generation and user_id = any (people);
    end if;
    return null;
end
$$;
create trigger forget_gone after insert or update of generation on seda.generation_pointer
    for each row execute function seda.forget_gone_when_served();

-- Nobody lives in two regions: the directory says in which. A row of somebody whose home is the
-- other region is refused here whatever wrote it; friendships alone cross, by pseudonym.
create function seda.refuse_foreigners() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from seda.region_directory d where d.user_id = new.user_id
                 and d.region <> seda.database_region()) then
        raise exception 'the person lives in the other region'
            using errcode = 'SD002', table = tg_table_name;
    end if;
    return new;
end
$$;
create function seda.refuse_foreign_person() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from seda.region_directory d where d.user_id = new.id
                 and d.region <> seda.database_region()) then
        raise exception 'the person lives in the other region'
            using errcode = 'SD002', table = tg_table_name;
    end if;
    return new;
end
$$;
create trigger refuse_foreigners before insert on seda.users
    for each row execute function seda.refuse_foreign_person();
-- The other tables refer to users; these do not.
create trigger refuse_foreigners before insert on seda.social_events
    for each row execute function seda.refuse_foreigners();
create trigger refuse_foreigners before insert on seda.event_receipts
    for each row execute function seda.refuse_foreigners();
create trigger refuse_foreigners before insert on seda.impression_pages
    for each row execute function seda.refuse_foreigners();

revoke execute on function
    seda.is_gone(uuid), seda.is_gone_subject(text), seda.caller_is_gone(),
    seda.drop_gone_person(), seda.drop_gone_entry(), seda.drop_withdrawn_import(),
    seda.imports_just_withdrawn(uuid), seda.drop_withdrawn_taste(), seda.guard_tables(),
    seda.forget_gone(regclass), seda.forget_gone_when_served(), seda.refuse_foreigners(),
    seda.refuse_foreign_person()
    from public;
grant execute on function seda.caller_is_gone() to authenticated;
grant execute on function seda.is_gone(uuid), seda.is_gone_subject(text),
    seda.forget_gone(regclass) to service_role;
