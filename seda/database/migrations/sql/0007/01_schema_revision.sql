-- Which migration this database is at, for the readiness of services whose login sees no table.
create function seda.schema_revision() returns text
    language sql stable security definer set search_path = ''
    as $$ select max(version_num)::text from public.seda_alembic_version $$;

revoke execute on function seda.schema_revision() from public;
grant execute on function seda.schema_revision() to seda_api, service_role;
