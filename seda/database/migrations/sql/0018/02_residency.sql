-- Nobody lives in two regions, in any table: not by an insert, and not by a change of whose row it
-- is. Tables that refer to users need none of this. Lists come by the partition, and are inspected
-- before they are served (no_cross_region_row).
create function seda.refuse_foreign_entity() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from seda.region_directory d where d.user_id = new.entity_uuid
                 and d.region <> seda.database_region()) then
        raise exception 'the person lives in the other region'
            using errcode = 'SD002', table = tg_table_name;
    end if;
    return new;
end
$$;
do $$
declare
    name text;
begin
    foreach name in array array[
        'social_events', 'event_receipts', 'impression_pages', 'privacy_jobs', 'tombstones'] loop
        execute format('create or replace trigger refuse_foreigners before insert or update of '
                       'user_id on seda.%I for each row execute function seda.refuse_foreigners()',
                       name);
    end loop;
end
$$;
create or replace trigger refuse_foreigners before insert or update of id on seda.users
    for each row execute function seda.refuse_foreign_person();
create trigger refuse_foreigners before insert or update of entity_uuid on seda.embeddings_audit
    for each row when (new.entity_type = 'user') execute function seda.refuse_foreign_entity();

revoke execute on function seda.refuse_foreign_entity() from public;

-- Who lives in the European Economic Area (seda/people/residence.py) is not in the global database.
alter table seda.users add constraint users_residence check (
    region = 'eu' or country is null or country <> all (array[
        'AT', 'BE', 'BG', 'CY', 'CZ', 'DE', 'DK', 'EE', 'ES', 'FI', 'FR', 'GR', 'HR', 'HU', 'IE',
        'IT', 'LT', 'LU', 'LV', 'MT', 'NL', 'PL', 'PT', 'RO', 'SE', 'SI', 'SK', 'IS', 'LI', 'NO',
        'AX', 'GF', 'GP', 'MF', 'MQ', 'RE', 'YT'])) not valid;
