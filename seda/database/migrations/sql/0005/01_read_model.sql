-- What the live order asks of each card, beside it, so that no card has to be parsed. Null in
-- generations that were published before.
alter table seda.mv_user_top_candidates add is_new boolean[], add genres text[];
