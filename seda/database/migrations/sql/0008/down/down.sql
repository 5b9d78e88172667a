drop index seda.idx_notification_log_session;
drop table seda.push_outbox, seda.push_caps, seda.toast_caps;
