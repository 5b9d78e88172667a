create or replace function seda.log_catalogue_change() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    changed boolean;
begin
    if tg_op = 'UPDATE' then
        execute format('select exists (select %1$s from after_it except all select %1$s from '
                       'before_it)', tg_argv[1]) into changed;
    elsif tg_op = 'INSERT' then
        changed := exists (select from after_it);
    else
        changed := exists (select from before_it);
    end if;
    if changed then
        insert into seda.catalogue_changes (entity_type)
        select kind from unnest(string_to_array(tg_argv[0], ',')) as t(kind);
    end if;
    return null;
end
$$;
drop function seda.link_account(text, text, jsonb, bytea, timestamptz),
    seda.stage_import(text, jsonb, timestamptz), seda.sync_account(text, timestamptz),
    seda.unlink_account(text, boolean, timestamptz),
    seda.remove_imports(uuid, text, timestamptz), seda.provider_credential(text);
drop table seda.link_attempts, seda.provider_imports, seda.import_changes,
    seda.provider_credentials;
alter table seda.linked_accounts drop state, drop problem, drop attempts, drop next_sync_at,
    drop leased_until, drop marks;
