-- Each row is bound to the one before by SHA-256, in the order of ids without gaps: what is changed,
-- taken out or slipped in breaks the chain there. Ids of people are kept as digests: the log is not
-- rewritten when somebody is erased.
alter table seda.audit_log add previous bytea, add hash bytea;

create function seda.audit_digest(
    previous bytea, id bigint, occurred_at timestamptz, actor text, action text, subject text,
    details jsonb
) returns bytea language sql immutable set search_path = '' set timezone = 'UTC' as $$
    select sha256(convert_to(jsonb_build_array(
        encode(previous, 'hex'), id, extract(epoch from occurred_at)::text, actor, action, subject,
        details)::text, 'UTF8'))
$$;

create function seda.without_ids(text) returns text language sql immutable set search_path = '' as $$
    select case when $1 ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then 'sha256:' || encode(sha256(uuid_send($1::uuid)), 'hex') else $1 end
$$;

do $$
declare
    each seda.audit_log;
    last bytea := '\x';
begin
    for each in select * from seda.audit_log order by id loop
        update seda.audit_log set previous = last, actor = seda.without_ids(actor),
            hash = seda.audit_digest(last, id, occurred_at, seda.without_ids(actor), action, subject,
                                     details)
        where id = each.id returning hash into last;
    end loop;
end
$$;
alter table seda.audit_log alter previous set not null, alter hash set not null;

create function seda.chain_audit() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    last record;
begin
    -- One writer at a time, until it commits: the next one links to what is there for good.
    perform pg_advisory_xact_lock(hashtext('seda.audit_log'));
    select a.id, a.hash into last from seda.audit_log a order by a.id desc limit 1;
    new.id := coalesce(last.id + 1, 1);
    new.previous := coalesce(last.hash, '\x');
    new.actor := seda.without_ids(new.actor);
    new.hash := seda.audit_digest(new.previous, new.id, new.occurred_at, new.actor, new.action,
                                  new.subject, new.details);
    return new;
end
$$;
create trigger chain_audit before insert on seda.audit_log
    for each row execute function seda.chain_audit();

create function seda.keep_audit() returns trigger language plpgsql set search_path = '' as $$
begin
    if tg_op = 'DELETE' and current_setting('seda.trimming_audit', true) = 'on' then
        return old;
    end if;
    raise exception 'the audit log is append-only' using errcode = 'SD003';
end
$$;
create trigger keep_audit before update or delete on seda.audit_log
    for each row execute function seda.keep_audit();
revoke update, delete on seda.audit_log from service_role;

-- Retention: the oldest rows go together, and a row says so with the hash that the rest begins at.
create function seda.trim_audit(before timestamptz, at timestamptz) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
    through record;
    trimmed bigint;
begin
    perform pg_advisory_xact_lock(hashtext('seda.audit_log'));
    -- Up to the first row that is to stay, whatever the times of later ones; never the last one.
    select a.id, a.hash into through from seda.audit_log a
    where a.id < (select min(k.id) from seda.audit_log k
                  where k.occurred_at >= before
                     or k.id = (select max(m.id) from seda.audit_log m))
    order by a.id desc limit 1;
    if through.id is null then
        return 0;
    end if;
    perform set_config('seda.trimming_audit', 'on', true);
    delete from seda.audit_log where id <= through.id;
    get diagnostics trimmed = row_count;
    perform set_config('seda.trimming_audit', 'off', true);
    insert into seda.audit_log (occurred_at, actor, action, subject, details)
    values (at, 'retention', 'audit.trimmed', through.id::text,
            jsonb_build_object('rows', trimmed, 'hash', encode(through.hash, 'hex')));
    return trimmed;
end
$$;

revoke execute on function
    seda.audit_digest(bytea, bigint, timestamptz, text, text, text, jsonb), seda.without_ids(text),
    seda.chain_audit(), seda.keep_audit(), seda.trim_audit(timestamptz, timestamptz)
    from public;
grant execute on function
    seda.audit_digest(bytea, bigint, timestamptz, text, text, text, jsonb),
    seda.trim_audit(timestamptz, timestamptz) to service_role;
