-- Rows cut off the end of the log leave a chain that holds. So the last row stands here, too, moved
-- by the trigger that chains: whoever cuts the log has to forge this as well, and the next row links
-- to what is said here, which shows that rows before it are missing. The storage's copy is for who
-- owns the database.
create table seda.audit_head (
    whole boolean primary key default true check (whole),
    id bigint not null,
    hash bytea not null
);
alter table seda.audit_head enable row level security;
alter table seda.audit_head force row level security;
grant select on seda.audit_head to service_role;
insert into seda.audit_head (id, hash)
select id, hash from seda.audit_log order by id desc limit 1;

create or replace function seda.chain_audit() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    last record;
begin
    -- One writer at a time, until it commits: the next one links to what is there for good.
    perform pg_advisory_xact_lock(hashtext('seda.audit_log'));
    select h.id, h.hash into last from seda.audit_head h;
    new.id := coalesce(last.id + 1, 1);
    new.previous := coalesce(last.hash, '\x');
    new.actor := seda.without_ids(new.actor);
    new.hash := seda.audit_digest(new.previous, new.id, new.occurred_at, new.actor, new.action,
                                  new.subject, new.details);
    insert into seda.audit_head (id, hash) values (new.id, new.hash)
    on conflict (whole) do update set id = excluded.id, hash = excluded.hash;
    return new;
end
$$;
create trigger keep_audit_whole before truncate on seda.audit_log
    for each statement execute function seda.keep_audit();
revoke truncate on seda.audit_log from public, service_role;
