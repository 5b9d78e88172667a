-- `locked`: our own vault does not open the token just now; it is kept, and tried again.
alter table seda.linked_accounts drop constraint linked_accounts_problem_check,
    add constraint linked_accounts_problem_check check (problem in (
        'rate_limited', 'unavailable', 'refused', 'unreadable', 'locked', 'revoked'));
