-- Takes the former schema away, and keeps in a setting what functions/ and attach.sql make again.
-- One transaction with these: writers wait for it, and see the triggers of before or those of after.

-- Locks all tables that are about to lose a trigger, or to go. Writers hold theirs until they commit,
-- and take them in an order of their own: if we held some while we wait for others, Postgres could end
-- a writer for the deadlock that this is. It looks for one after deadlock_timeout, so that we hold locks
-- for half of that at most while we wait: else we let go of all, and begin with the one that was in the
-- way. How long is left to chance: short goes round a deadlock often, long waits for a slow transaction.
-- The journal comes last: those who wrote to it hold a table, too.
do $$
declare
    patience constant interval := (select coalesce(nullif(s.setting, '0'), '5000')::integer from pg_settings s where s.name = 'lock_timeout') * interval '1 ms';
    hold     constant interval := (select s.setting::integer / 2 from pg_settings s where s.name = 'deadlock_timeout') * interval '1 ms';
    deadline constant timestamptz := clock_timestamp() + patience;
    until    timestamptz;
    tbl      regclass;
    busy     regclass := 0;
begin
    perform pgbell.must_own(f.target) from pgbell.feed f where exists (select from pg_class c where c.oid = f.target);
    loop
        begin
            until := deadline;
            for tbl in
                select c.oid from pg_class c
                where c.relkind in ('r', 'p') and (
                    c.relnamespace = 'pgbell'::regnamespace and c.relname <> 'goose_db_version'
                    or c.oid in (select t.t from pgbell.feed f, pgbell.tree(f.target) t (t))
                    or c.oid in (select g.tgrelid from pg_trigger g join pg_proc p on p.oid = g.tgfoid where p.pronamespace = 'pgbell'::regnamespace))
                order by c.oid <> busy, c.relnamespace = 'pgbell'::regnamespace, c.oid
            loop
                perform set_config('lock_timeout', greatest(1, ceil(1000 * extract(epoch from until - clock_timestamp())))::integer::text, true);
                execute format('lock table only %s in access exclusive mode', tbl);
                if until = deadline then
                    until := least(deadline, clock_timestamp() + hold * power(random(), 2));
                end if;
            end loop;
            exit;
        exception when lock_not_available or deadlock_detected then
            busy := tbl;
            if clock_timestamp() >= deadline then
                raise exception '% is in use: no lock on it within % s', pgbell.table_name(tbl), trim_scale(extract(epoch from patience)::numeric)
                    using errcode = 'lock_not_available', hint = 'Try again once the transactions that use it have ended (see pg_locks), or with a longer lock_timeout (PGOPTIONS="-c lock_timeout=1min"): writers then wait, too.';
            end if;
        end;
    end loop;
    perform set_config('lock_timeout', (1000 * extract(epoch from patience))::integer::text, true);
end $$;

select set_config('pgbell.former', jsonb_build_object(
    'feeds', (
        select coalesce(jsonb_agg(jsonb_build_object('target', f.target::oid, 'tbl', f.tbl, 'scopes', f.scopes, 'audience', f.audience,
            'columns', f.columns, 'payload', f.payload, 'durable', f.durable) order by f.id), '[]')
        from pgbell.feed f),
    'detached', (
        select coalesce(jsonb_agg(d.target), '[]')
        from (select d.target from pgbell.detached d union select f.target from pgbell.feed f) d),
    'listeners', (
        select coalesce(jsonb_agg(distinct r.rolname), '[]')
        from pg_class c, aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
        where c.oid = 'pgbell.journal'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner),
    'role', current_setting('role'))::text, true);

do $$
declare
    trg record;
begin
    for trg in
        select t.tgname, t.tgrelid::regclass as tbl
        from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where p.pronamespace = 'pgbell'::regnamespace and t.tgparentid = 0
    loop
        execute format('drop trigger %I on %s', trg.tgname, trg.tbl);
    end loop;
end $$;

drop view pgbell.feeds;

-- Those that applications call are replaced later: what depends on them stays, and who may call them.
-- Not so attach, which takes another argument now: one of its name would stand beside it.
do $$
begin
    execute (
        select 'drop function ' || string_agg(p.oid::regprocedure::text, ', ') from pg_proc p
        where p.pronamespace = 'pgbell'::regnamespace and p.proname not in ('cursor', 'publish', 'disconnect', 'detach'));
end $$;
drop type pgbell.missing, pgbell.column_sql;
drop table pgbell.feed, pgbell.detached, pgbell.journal_0, pgbell.journal_1, pgbell.journal, pgbell.journal_state, pgbell.incarnation, pgbell.waiting;
drop sequence pgbell.journal_seq, pgbell.journal_turn, pgbell.orders;

-- What is made next is the schema's owner's, who need not own the attached tables.
select set_config('role', r.rolname, true)
from pg_namespace n join pg_roles r on r.oid = n.nspowner
where n.nspname = 'pgbell' and r.rolname <> current_user;
