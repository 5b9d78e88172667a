-- Supabase-compatible roles and auth.uid(), created only where they do not exist.
-- seda_api is what the API logs in as: it inherits nothing, owns nothing and bypasses nothing,
-- so that a forgotten SET ROLE sees no table at all.
do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values
            ('anon', 'nologin noinherit'),
            ('authenticated', 'nologin noinherit'),
            ('service_role', 'nologin noinherit bypassrls'),
            ('seda_api', 'login noinherit nobypassrls')
        ) as roles(name, attributes)
    loop
        begin
            if not exists (select from pg_roles where rolname = wanted.name) then
                execute format('create role %I %s', wanted.name, wanted.attributes);
            end if;
        exception when duplicate_object or unique_violation then
            null;  -- the other region's migration, on the same server, was quicker
        end;
    end loop;
end
$$;

grant anon, authenticated to seda_api;

create extension if not exists vector;
create schema if not exists auth;

do $$
begin
    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid language sql stable as $f$
            select nullif(
                coalesce(
                    nullif(current_setting('request.jwt.claim.sub', true), ''),
                    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
                ), '')::uuid
        $f$;
        grant usage on schema auth to anon, authenticated, service_role;
        grant execute on function auth.uid() to anon, authenticated, service_role;
    end if;
end
$$;

create schema seda;
grant usage on schema seda to anon, authenticated, service_role;

-- Which database is whose: every region column is checked against this constant, so that a
-- cross-region write is refused by the database itself.
create function seda.database_region() returns text language sql immutable parallel safe
    as $$ select '{region}'::text $$;

-- The models' clock: a test or a backfill sets seda.now for its transaction.
create function seda.clock() returns timestamptz language sql stable parallel safe
    as $$ select coalesce(nullif(current_setting('seda.now', true), '')::timestamptz, now()) $$;

grant execute on function seda.database_region(), seda.clock() to anon, authenticated, service_role;
