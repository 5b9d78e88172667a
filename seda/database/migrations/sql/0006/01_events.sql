-- A person's own receipts tell a repeated event from another one with the same id. Somebody else's
-- receipt stays invisible: its id is simply taken.
create policy own_select on seda.event_receipts for select to authenticated
    using (user_id = (select seda.current_user_id()));
grant select (event_id, user_id, body_hash) on seda.event_receipts to authenticated;

-- An undone dismissal is no feedback.
create policy own_dismissal_delete on seda.fact_events for delete to authenticated
    using (user_id = (select seda.current_user_id()) and event_type = 'rec_dismiss');
grant delete on seda.fact_events to authenticated;
