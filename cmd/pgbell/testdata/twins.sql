-- What a stranger puts into schema public, where everybody may create there, to have his code run by
-- others: twins of what the system has of the names in pg_temp.words, those of functions with a brace
-- behind. A twin that is called says so in the server's log, and fails.

create function public.twin(what text) returns boolean language plpgsql
set search_path = pg_catalog
as $$
begin
    raise log 'TWIN % in %', what, current_database();
    raise exception 'TWIN %', what;
end $$;

-- The types of what somebody may pass for which the system's own takes the type declared: that, those
-- which are cast to it without being asked for, those of a literal, and, where any will do, all that
-- pgbell has to do with.
create temp table passed_as as
select d.declared, t.oid as type
from (select unnest(p.proargtypes) as declared from pg_proc p union select o.oprleft from pg_operator o union select o.oprright from pg_operator o) d, pg_type t
where t.typtype <> 'p' and (t.oid in (d.declared, 'text'::regtype, 'varchar'::regtype)
    or exists (select from pg_cast c where c.castsource = t.oid and c.casttarget = d.declared and c.castcontext = 'i')
    or d.declared = any (array['"any"','anyelement','anynonarray','anycompatible','anycompatiblenonarray']::regtype[]) and t.oid = any
        (array['name','oid','regclass','int2','int4','int8','xid8','pg_snapshot','pg_lsn','bool','"char"','json','jsonb','timestamptz','interval','numeric']::regtype[])
    or d.declared = any (array['anyarray','anycompatiblearray']::regtype[]) and t.oid = any
        (array['text[]','name[]','oid[]','int2[]','int4[]','regtype[]','"char"[]','int2vector','oidvector']::regtype[]));

set check_function_bodies = off; -- it saves half of the time
create temp table ddl (what text, n integer generated always as identity, sql text);

-- Functions of up to two arguments in all ways; of more arguments, one after the other.
with functions as (
    select p.oid::integer as n, p.proname as name, p.proargtypes::oid[] as types, case when r.r ~ '^TABLE|^SETOF|^any|record|internal' then 'text' else r.r end as result
    from pg_proc p, pg_get_function_result(p.oid) r (r)
    where p.pronamespace = 'pg_catalog'::regnamespace and p.proname || '(' in (select w from words) and p.provariadic = 0
    union all
    select p.oid::integer, p.proname, array_fill('"any"'::regtype::oid, array[n.n]), 'text'
    from pg_proc p, generate_series(1, 4) n (n)
    where p.pronamespace = 'pg_catalog'::regnamespace and p.proname || '(' in (select w from words) and p.provariadic <> 0
), arguments as materialized (
    select f.*, a.i, p.type, a.declared
    from functions f, unnest(f.types) with ordinality a (declared, i) join passed_as p on p.declared = a.declared
), usual as materialized (
    select distinct on (a.n, cardinality(a.types), a.i) a.n, cardinality(a.types) as many, a.i, a.type from arguments a order by 1, 2, 3, a.type <> a.declared, a.type <> 'text'::regtype
), signatures as (
    select f.name, '' as arguments, f.result from functions f where f.types = '{}'
    union
    select a.name, string_agg(format_type(case when u.i = a.i then a.type else u.type end, null), ', ' order by u.i), a.result
    from arguments a join usual u on u.n = a.n and u.many = cardinality(a.types)
    where cardinality(a.types) <> 2 or a.declared = '"any"'::regtype
    group by a.n, a.name, a.types, a.i, a.type, a.result
    union
    select a.name, format_type(a.type, null) || ', ' || format_type(b.type, null), a.result
    from arguments a join arguments b on b.n = a.n and b.types = a.types
    where cardinality(a.types) = 2 and a.i = 1 and b.i = 2 and a.declared <> '"any"'::regtype
)
insert into ddl (what, sql)
select 'functions', format('create function public.%I(%s) returns %s language plpgsql as %L', s.name, s.arguments, s.result,
    format('begin perform public.twin(%L); return null; end', format('%s(%s)', s.name, s.arguments)))
from signatures s;

with operators as (
    select distinct on (o.oprname, l.type, r.type) o.oprname as name, format_type(l.type, null) as l, format_type(r.type, null) as r,
        case when o.oprresult::regtype::text ~ '^any' then 'text' else format_type(o.oprresult, null) end as result
    from pg_operator o join passed_as l on l.declared = o.oprleft join passed_as r on r.declared = o.oprright
    where o.oprkind = 'b' and o.oprname in (select w from words)
)
insert into ddl (what, sql)
select 'operators', format('create function public.twin_%s(%s, %s) returns %s language plpgsql as %L; create operator public.%s (leftarg = %2$s, rightarg = %3$s, function = public.twin_%1$s)',
    row_number() over (), o.l, o.r, o.result, format('begin perform public.twin(%L); return null; end', format('%s %s %s', o.l, o.name, o.r)), o.name)
from operators o;

-- Where public comes before the system's schema, names of tables and types mean these, too.
insert into ddl (what, sql)
select 'tables', format('create view public.%I as select x.* from pg_catalog.%1$I x where public.twin(%L)', c.relname, c.relname)
from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v') and c.relname in (select w from words);
insert into ddl (what, sql)
select 'types', format('create domain public.%I as %s check (public.twin(%L))', t.typname, format_type(t.oid, null), t.typname)
from pg_type t where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype = 'b' and t.typname !~ '^_' and t.typname in (select w from words);

-- Makes them, some at a time: a transaction that makes many things takes ever longer for each.
create procedure pg_temp.make_all() language plpgsql as $$
declare
    last integer := (select max(n) from ddl);
begin
    for batch in 0 .. last / 100 loop
        perform pg_temp.make(d.sql) from ddl d where d.n between batch * 100 and batch * 100 + 99;
        commit;
    end loop;
end $$;
create function pg_temp.make(sql text) returns void language plpgsql as $$
begin
    execute sql;
exception when others then -- there is one already, or there can be none
end $$;
