-- The caller's account at a provider, new or linked again, to be imported at once. The token is
-- sealed for the row (user_id, provider), which is why it can be there before the row is.
create function seda.link_account(
    account_provider text, account_id text, granted jsonb, token bytea, at timestamptz
) returns void language sql security definer set search_path = '' as $$
    insert into seda.linked_accounts as l (user_id, provider, external_user_id, scopes,
        refresh_token_encrypted, state, next_sync_at, created_at)
    select me, account_provider, account_id, granted, token, 'pending', at, at
    from (select seda.current_user_id()) as caller(me) where me is not null
    on conflict (user_id, provider) do update
    set external_user_id = excluded.external_user_id, scopes = excluded.scopes,
        refresh_token_encrypted = excluded.refresh_token_encrypted, state = 'pending',
        problem = null, attempts = 0, next_sync_at = at, leased_until = null, marks = '{}'
$$;

-- What the caller's session at a provider gave, to be mapped; of the session nothing is kept.
create function seda.stage_import(account_provider text, summary jsonb, at timestamptz)
returns void language sql security definer set search_path = '' as $$
    insert into seda.linked_accounts (user_id, provider, state, created_at)
    select me, account_provider, 'pending', at
    from (select seda.current_user_id()) as caller(me) where me is not null
    on conflict (user_id, provider) do update
    set state = 'pending', problem = null, attempts = 0;
    insert into seda.provider_imports (user_id, provider, staged, staged_at)
    select me, account_provider, summary, at
    from (select seda.current_user_id()) as caller(me) where me is not null
    on conflict (user_id, provider) do update set staged = excluded.staged, staged_at = at;
$$;

-- The caller asks to be looked at now; null where there is no such link, false where it was looked
-- at within the last minute or cannot be before they link again.
create function seda.sync_account(account_provider text, at timestamptz) returns boolean
language sql security definer set search_path = '' as $$
    with mine as (
        select l.id, l.state <> 'revoked' and l.refresh_token_encrypted is not null
            and coalesce(l.last_synced_at, l.created_at) <= at - interval '1 minute' as may
        from seda.linked_accounts l
        where l.user_id = (select seda.current_user_id()) and l.provider = account_provider
    ), moved as (
        update seda.linked_accounts l set next_sync_at = least(l.next_sync_at, at)
        from mine m where m.id = l.id and m.may
    )
    select may from mine
$$;

-- Takes out what a provider brought in about one person, all of it or nothing.
create function seda.remove_imports(person uuid, account_provider text, at timestamptz) returns void
language plpgsql security definer set search_path = '' as $$
begin
    delete from seda.activity_counts where user_id = person and source = account_provider;
    delete from seda.artist_follows where user_id = person and source = account_provider;
    delete from seda.playlists
        where owner_user_id = person and provider = account_provider and visibility = 'private';
    delete from seda.provider_imports where user_id = person and provider = account_provider;
    -- Derived from them, and made again without them.
    delete from seda.user_vectors where entity_id = person;
    delete from seda.user_profiles where user_id = person;
    delete from seda.user_activity_summary where user_id = person;
    insert into seda.import_changes (user_id, changed_at) values (person, at)
    on conflict (user_id) do update set changed_at = at, taste_at = null;
end
$$;

-- Ends the caller's link: the token is gone with the row, attempts too, imports where asked. Says
-- whether there was one, and gives its sealed token once more, to be revoked at the provider.
create function seda.unlink_account(
    account_provider text, delete_imports boolean, at timestamptz,
    out was_linked boolean, out token bytea
) language plpgsql security definer set search_path = '' as $$
declare
    me uuid := (select seda.current_user_id());
begin
    delete from seda.link_attempts a where a.user_id = me and a.provider = account_provider;
    delete from seda.linked_accounts l where l.user_id = me and l.provider = account_provider
        returning refresh_token_encrypted into token;
    was_linked := found;
    -- What waited to be mapped is no import yet.
    update seda.provider_imports i set staged = null, staged_at = null
        where i.user_id = me and i.provider = account_provider;
    if delete_imports then
        was_linked := was_linked or exists (select from seda.provider_imports i
            where i.user_id = me and i.provider = account_provider);
        if was_linked then
            perform seda.remove_imports(me, account_provider, at);
            perform seda.seed_taste(array(select jsonb_array_elements_text(
                case jsonb_typeof(u.preferences -> 'genres') when 'array'
                    then u.preferences -> 'genres' else '[]' end)), at)
            from seda.users u where u.id = me;
        end if;
    end if;
end
$$;

-- Only the API's own login reads our credentials, sealed as they are, outside of any person's
-- transaction.
create function seda.provider_credential(wanted text) returns bytea
language sql stable security definer set search_path = '' as $$
    select secret_encrypted from seda.provider_credentials where name = wanted
$$;

revoke execute on function seda.link_account(text, text, jsonb, bytea, timestamptz),
    seda.stage_import(text, jsonb, timestamptz), seda.sync_account(text, timestamptz),
    seda.remove_imports(uuid, text, timestamptz), seda.unlink_account(text, boolean, timestamptz),
    seda.provider_credential(text) from public;
grant execute on function seda.link_account(text, text, jsonb, bytea, timestamptz),
    seda.stage_import(text, jsonb, timestamptz), seda.sync_account(text, timestamptz),
    seda.unlink_account(text, boolean, timestamptz) to authenticated;
grant execute on function seda.provider_credential(text) to seda_api;
grant execute on function seda.remove_imports(uuid, text, timestamptz) to service_role;
