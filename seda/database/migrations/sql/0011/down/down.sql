drop function seda.live_lists(text, text[], bigint[], integer, timestamptz);
drop trigger forget_ended_lists on seda.friends;
drop trigger forget_blocked_lists on seda.friends;
drop trigger forget_lists_of_the_gone on seda.users;
drop trigger forget_moved_lists on seda.users;
drop function seda.forget_moved_lists();
drop table seda.realtime_rankings, seda.event_cursors;
drop index seda.idx_social_events_transaction;
alter table seda.mv_user_top_candidates drop pool_size, drop presence, drop lifts;
