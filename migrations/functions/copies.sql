-- What tells a copy of a database from the one that it was made of: a dump, whole or in part, a clone, a
-- subscriber. In a copy tables have other numbers, and transactions other ids.

-- The database that this is.
create or replace function pgbell.home() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select concat_ws('/', c.system_identifier, d.oid, 'pgbell.feed'::regclass::oid)
    from pg_control_system() c, pg_database d where d.datname = current_database()
$$;

-- Begins the journal of this database, if what there is came with a copy: from another one, or the tables
-- without a row. Records of another database are never told (see journal/read.go), and its cursors are
-- answered by a reset.
create or replace function pgbell.begin_journal() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pgbell.journal_state s where s.home = pgbell.home()) then
        return;
    end if;
    -- An error, if a dump is being restored and its keys are yet to come: its rows are, too.
    insert into pgbell.journal_state (home) values ('') on conflict (one) do nothing;
    perform from pgbell.journal_state for update;
    if exists (select from pgbell.journal_state s where s.home = pgbell.home()) then
        return;
    end if;
    if pg_sequence_last_value('pgbell.gate') is null then
        perform setval('pgbell.gate', 0);
    end if;
    -- A number that functions have is not given out again, though no row has it.
    perform setval(pg_get_serial_sequence('pgbell.feed', 'id')::regclass, m.m)
    from (select max(substring(p.proname from '^feed_(\d+)_')::bigint) from pg_proc p
        where p.pronamespace = 'pgbell'::regnamespace) m (m)
    where m.m > coalesce(pg_sequence_last_value(pg_get_serial_sequence('pgbell.feed', 'id')::regclass), 0);
    -- Where tables kept their numbers, feeds are as good as they were.
    update pgbell.feed f set home = pgbell.home() where pgbell.table_of(f) = f.target;
    update pgbell.journal_state
    set home = pgbell.home(), floor = '0', step = nextval('pgbell.rotation'), since = clock_timestamp(), fence = null,
        quiet_at = case when not exists (select from pgbell.journal) then clock_timestamp() end;
end $$;

-- The tables that have triggers of a feed, by which rows are told: copies of an attached table, too.
create or replace function pgbell.tables_with_triggers(feed integer) returns setof regclass
language sql stable rows 2
set search_path = pg_catalog, pg_temp
as $$
    select distinct t.tgrelid::regclass from pgbell.feed_functions(feed) p, pgbell.triggers_that_call(p.oid) t
    where t.tgparentid = 0 and p.proname !~ '_truncate$'
$$;

-- Of the tables with triggers of a feed, the one that was attached: the others inherit from it, or are
-- copies of it.
create or replace function pgbell.table_with_triggers(feed integer, target oid, tbl text) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select t.t from pgbell.tables_with_triggers(feed) t (t)
    where not exists (
        select from pg_inherits i join pgbell.tables_with_triggers(feed) p (t) on p.t = i.inhparent
        where i.inhrelid = t.t)
    order by t.t <> target, pgbell.table_name(t.t) <> tbl, t.t limit 1
$$;

-- The table of a feed: the one that was attached or, if that is none of this database, the one that has
-- the feed's triggers here. Null if there is neither.
create or replace function pgbell.table_of(f pgbell.feed) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when f.home = pgbell.home() and exists (select from pg_class c where c.oid = f.target) then f.target
        else pgbell.table_with_triggers(f.id, f.target, f.tbl) end::regclass
$$;

-- Triggers of a feed that is another table's, which a copy of a table brought, or of one that is not there,
-- since its row was not copied. They do nothing.
create or replace function pgbell.strays(out tbl regclass, out trg name, out fn regprocedure, out feed integer)
returns setof record
language sql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
    with attached as materialized (
        select f.id, t.t from pgbell.feed f, pgbell.tree(pgbell.table_of(f)) t (t)
    )
    select t.tgrelid, t.tgname, t.tgfoid, n.feed
    from pg_proc p, lateral (select substring(p.proname from '^feed_(\d+)_')::integer) n (feed),
        pgbell.triggers_that_call(p.oid) t
    where p.pronamespace = 'pgbell'::regnamespace and n.feed is not null and t.tgparentid = 0
        and not exists (select from attached a where a.id = n.feed and a.t = t.tgrelid)
$$;

-- Takes the triggers of no feed from a table and those that inherit from it, and the functions that nothing
-- calls any more. Returns whether there were any.
create or replace function pgbell.remove_strays(target regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    stray record;
    found boolean := false;
begin
    for stray in
        select s.* from pgbell.strays() s where s.tbl in (select t.t from pgbell.tree(target) t (t))
    loop
        perform pgbell.run(format('drop trigger %I on %s', stray.trg, stray.tbl));
        found := true;
    end loop;
    for stray in
        select p.oid::regprocedure as fn from pg_proc p
        where p.pronamespace = 'pgbell'::regnamespace and p.proname ~ '^feed_\d+_'
            and not exists (select from pgbell.feed f where p.proname ~ ('^feed_' || f.id || '_'))
            and not exists (select from pg_trigger t where t.tgfoid = p.oid)
    loop
        perform pgbell.run(format('drop function %s', stray.fn));
    end loop;
    return found;
end $$;

-------------------------------------------------------------------------------
-- Publications
-------------------------------------------------------------------------------

-- A publication FOR ALL TABLES has pgbell's, too. What a subscription applies to them is of another
-- database, and left out: but what a write of its own records, which has the writer's id. Enabled for
-- session_replication_role = replica alone, so that no other writer calls it.
create or replace function pgbell.keep_out() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('session_replication_role') <> 'replica' then
        return case tg_op when 'DELETE' then old else new end; -- ENABLE TRIGGER ALL, as a restore may have it
    elsif tg_table_name ~ '^journal_[01]$' then
        -- Within another trigger it is keep_in.
        if new.xid = pg_current_xact_id() or pg_trigger_depth() > 1 then
            return new;
        end if;
    elsif not exists (select from pg_stat_get_subscription(null) s where s.pid = pg_backend_pid()) then
        return case tg_op when 'DELETE' then old else new end; -- somebody who has set the role by hand
    end if;
    return null;
end $$;

-- TRUNCATE can't be left out. What is in the half of the journal that is about to be emptied goes to the
-- other half, and the rotation begins anew, as after a switch.
create or replace function pgbell.keep_in() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('session_replication_role') = 'replica' then
        execute format('insert into pgbell.journal_%s select * from pgbell.%s',
            1 - right(tg_table_name, 1)::integer, tg_table_name);
        update pgbell.journal_state set step = nextval('pgbell.rotation'), fence = null, quiet_at = null;
    end if;
    return null;
end $$;

do $$
declare
    made record;
begin
    for made in
        select c.oid::regclass as tbl, x.* from pg_class c, (values
            ('keep_out', 'before insert or update or delete', 'row', ''),
            ('keep_in', 'before truncate', 'statement', '^journal_[01]$')
        ) x (name, fires, each, tables)
        where c.relnamespace = 'pgbell'::regnamespace and c.relkind = 'r' and c.relpersistence = 'p'
            and c.relname ~ x.tables and not exists (
                select from pg_trigger t where t.tgrelid = c.oid and t.tgname = x.name and t.tgenabled = 'R')
    loop
        execute format('create or replace trigger %I %s on %s for each %s execute function pgbell.%1$I()',
            made.name, made.fires, made.tbl, made.each);
        execute format('alter table %s enable replica trigger %I', made.tbl, made.name);
    end loop;
end $$;
