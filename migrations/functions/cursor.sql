-- What a snapshot sees, as a text.

-- What a server calls before it reads the journal. SECURITY DEFINER, as rotate is, so that the listener's
-- role writes no table.
create or replace function pgbell.mark_incarnation() returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select pgbell.begin_journal();
    insert into pgbell.incarnation (one)
    select true where not exists (select from pgbell.incarnation)
    on conflict (one) do nothing
$$;

-- What this snapshot sees. STABLE, so that it uses the snapshot of the query that calls it. SECURITY
-- DEFINER, since it is open to PUBLIC and reads a table. In at most 256 bytes, for headers: an older
-- cursor is as right, with some repeats.
create or replace function pgbell.cursor() returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    snap text := pg_current_snapshot()::text;
    own  xid8 := pg_current_xact_id_if_assigned();
    mark text;
    kept text;
begin
    if own < pg_snapshot_xmax(snap::pg_snapshot) then
        -- A snapshot leaves out its own transaction, which is not over: it may yet write.
        snap := format('%s:%s:%s', split_part(snap, ':', 1), split_part(snap, ':', 2), (
            select string_agg(x.x::text, ',' order by x.x)
            from (select pg_snapshot_xip(snap::pg_snapshot) union select own) x (x)));
    end if;
    if pg_is_in_recovery() then
        mark := 'standby'; -- an unlogged table cannot be read there; a cursor of a standby fits no primary
    else
        -- Without a mark, between a crash and the listener's next one, it's a cursor that fits nothing.
        -- The oids, since a database restored from a dump, or made from this one as template, has the mark, too.
        mark := coalesce((
            select concat_ws('/', i.mark, i.tableoid, d.oid)
            from pgbell.incarnation i, pg_database d where d.datname = current_database()), gen_random_uuid()::text);
    end if;
    if length(snap) > 240 then
        -- What comes before the first running transaction that doesn't fit is kept as it is.
        kept := substring(left(split_part(snap, ':', 3), 190) from '(.*),');
        snap := format('%s:%s:%s', split_part(snap, ':', 1),
            split_part(substr(split_part(snap, ':', 3), length(kept) + 2), ',', 1), kept);
    end if;
    return left(md5(concat_ws('/', mark, extract(epoch from pg_postmaster_start_time()))), 8) || '-' || snap;
end $$;
