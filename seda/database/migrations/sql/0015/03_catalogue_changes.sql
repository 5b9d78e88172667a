-- Private playlists have no text that is embedded: what an import brings in asks for no run. With a
-- public playlist its own row goes too, which says it.
create or replace function seda.log_catalogue_change() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    changed boolean;
begin
    if tg_op = 'UPDATE' then
        execute format('select exists (select %1$s from after_it except all select %1$s from '
                       'before_it)', tg_argv[1]) into changed;
    elsif tg_op = 'INSERT' and tg_table_name = 'playlists' then
        changed := exists (select from after_it where visibility = 'public');
    elsif tg_op = 'INSERT' and tg_table_name = 'playlist_artists' then
        changed := exists (select from after_it a join seda.playlists p on p.id = a.playlist_id
                           where p.visibility = 'public');
    elsif tg_op = 'INSERT' then
        changed := exists (select from after_it);
    elsif tg_table_name = 'playlists' then
        changed := exists (select from before_it where visibility = 'public');
    elsif tg_table_name = 'playlist_artists' then
        changed := exists (select from before_it b join seda.playlists p on p.id = b.playlist_id
                           where p.visibility = 'public');
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
