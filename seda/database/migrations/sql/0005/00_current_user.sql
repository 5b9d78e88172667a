-- Whose row a token's subject is, looked up once per transaction: nearly every policy asks, for each
-- table anew. What was found stands in a setting that ends with the transaction and counts only for
-- the subject that it was found for, so it is trusted as much as the claims themselves, which are a
-- setting too. Nobody is remembered as absent: a person may come to be in this very transaction.
create or replace function seda.current_user_id() returns uuid
language plpgsql stable security definer set search_path = '' as $$
declare
    subject text := auth.uid()::text;
    known text := current_setting('seda.current_user', true);
    person uuid;
begin
    if subject is null then
        return null;
    end if;
    if known is not null and left(known, 36) = subject then
        return right(known, 36)::uuid;
    end if;
    select id into person from seda.users where auth_user_id = subject and deleted_at is null;
    if person is not null then
        perform set_config('seda.current_user', subject || person::text, true);
    end if;
    return person;
end
$$;
