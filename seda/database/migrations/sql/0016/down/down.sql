do $$
declare
    each record;
begin
    for each in select tgname as name, tgrelid::regclass as relation from pg_trigger
        where tgparentid = 0 and not tgisinternal
          and (tgname like 'drop_gone%' or tgname in ('drop_withdrawn', 'refuse_foreigners',
               'forget_gone', 'chain_audit', 'keep_audit'))
    loop
        execute format('drop trigger %I on %s', each.name, each.relation);
    end loop;
end
$$;
drop function seda.trim_audit(timestamptz, timestamptz), seda.keep_audit(), seda.chain_audit(),
    seda.without_ids(text),
    seda.audit_digest(bytea, bigint, timestamptz, text, text, text, jsonb);
grant update, delete on seda.audit_log to service_role;
alter table seda.audit_log drop previous, drop hash;

drop function seda.delete_again(uuid, timestamptz), seda.export_artefact(uuid), seda.request_deletion(text, timestamptz),
    seda.withdraw_person(uuid, timestamptz), seda.withdraw_imports(uuid, timestamptz),
    seda.request_export(timestamptz);
drop index seda.one_open_privacy_job, seda.idx_privacy_jobs_due;
alter table seda.privacy_jobs drop next_attempt_at, drop leased_until;

drop function seda.refuse_foreign_person(), seda.refuse_foreigners(),
    seda.forget_gone_when_served(), seda.forget_gone(regclass), seda.guard_tables(),
    seda.drop_withdrawn_taste(), seda.imports_just_withdrawn(uuid), seda.drop_withdrawn_import(),
    seda.drop_gone_entry(), seda.drop_gone_person(), seda.drop_gone_by_user_id(),
    seda.drop_gone_by_entity_id(), seda.drop_gone_by_entity_uuid(),
    seda.drop_gone_by_friend_user_id(), seda.caller_is_gone(), seda.is_gone_subject(text),
    seda.is_gone(uuid);
alter table seda.tombstones drop transaction_id;
drop table seda.stale_artefacts, seda.erased_people;
