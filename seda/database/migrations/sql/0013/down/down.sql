drop table seda.notices;
