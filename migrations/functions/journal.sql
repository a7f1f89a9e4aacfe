-- Writing to the journal, but for the one row that most statements write: that, triggers do themselves.

-- Writes a record to the half of the journal that is written now. It qualifies names, as the triggers do.
create or replace function pgbell.record(definition integer, tbl text, op text, facts text[],
    lsn pg_lsn default null, part bigint default 0) returns void
language plpgsql
as $$
declare
    xid  pg_catalog.xid8 := pg_catalog.pg_current_xact_id(); -- before the half is looked up, as rotate's fence needs it
    half bigint := pg_catalog.mod(coalesce(pg_catalog.pg_sequence_last_value('pgbell.gate'), 0), 2);
begin
    lsn := coalesce(lsn, pg_catalog.pg_current_wal_insert_lsn());
    if half operator(pg_catalog.=) 0 then
        insert into pgbell.journal_0 (lsn, part, xid, definition, tbl, op, facts)
        values (record.lsn, record.part, xid, record.definition, record.tbl, record.op, record.facts);
    else
        insert into pgbell.journal_1 (lsn, part, xid, definition, tbl, op, facts)
        values (record.lsn, record.part, xid, record.definition, record.tbl, record.op, record.facts);
    end if;
end $$;

-- Records, or rings, a reset of every scope that the templates of a definition can produce.
create or replace function pgbell.record_reset(definition integer, tbl text, reason text, durable boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if durable then
        perform pgbell.record(definition, tbl, 'reset', array[reason]);
        perform pgbell.ring(tbl, 'reset', null);
    else
        perform pg_notify('pgbell', pgbell.reset_payload(tbl, 'reset', reason));
    end if;
end $$;
