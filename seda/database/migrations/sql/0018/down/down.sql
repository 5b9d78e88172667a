update seda.linked_accounts set problem = 'unavailable' where problem = 'locked';
alter table seda.linked_accounts drop constraint linked_accounts_problem_check,
    add constraint linked_accounts_problem_check check (problem in (
        'rate_limited', 'unavailable', 'refused', 'unreadable', 'revoked'));

alter table seda.users drop constraint users_residence;
drop trigger refuse_foreigners on seda.embeddings_audit;
drop trigger refuse_foreigners on seda.privacy_jobs;
drop trigger refuse_foreigners on seda.tombstones;
drop function seda.refuse_foreign_entity();
create or replace trigger refuse_foreigners before insert on seda.users
    for each row execute function seda.refuse_foreign_person();
create or replace trigger refuse_foreigners before insert on seda.social_events
    for each row execute function seda.refuse_foreigners();
create or replace trigger refuse_foreigners before insert on seda.event_receipts
    for each row execute function seda.refuse_foreigners();
create or replace trigger refuse_foreigners before insert on seda.impression_pages
    for each row execute function seda.refuse_foreigners();

drop trigger keep_audit_whole on seda.audit_log;
create or replace function seda.chain_audit() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    last record;
begin
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
drop table seda.audit_head;
