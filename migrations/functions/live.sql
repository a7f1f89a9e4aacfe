-- Live queries: functions whose results servers keep fresh for who subscribes to them.

-- Has servers keep the results of a function fresh: of one that is STABLE, and whose arguments all have
-- names. Of these user_id (text) and groups (text[]) are filled in by the server with who asks; the others
-- come from the client. It is known by its name, and by its schema too if that is not public. Where the
-- result depends on the time, every says how often to run it. The columns key tell a row of the result from
-- the others, so that a changed row can be told as that; without them it is another row. Doing it again
-- replaces what was said before.
create or replace function pgbell.live(function regproc, every interval default null, key text[] default null)
    returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
    wrong constant text := pgbell.unfit_for_live(function);
    f     constant text := function::oid::regprocedure;
begin
    if wrong is not null then
        raise exception '%', wrong using errcode = 'invalid_parameter_value',
            hint = 'A live query is a STABLE function that returns rows, with a name for each argument.';
    elsif every < interval '1 second' or every > interval '1 day' then
        raise exception 'every is a time from a second to a day' using errcode = 'invalid_parameter_value';
    elsif exists (select from unnest(key) k where k is null
            or k not in (select c.name from pgbell.live_columns(function) c)) then
        raise exception 'key is to name columns of the result: %',
            (select string_agg(c.name, ', ' order by c.place) from pgbell.live_columns(function) c)
            using errcode = 'invalid_parameter_value';
    end if;
    insert into pgbell.live_query (name, function, every, key)
    values (pgbell.live_name(function), f, live.every, nullif(live.key, '{}'))
    on conflict (name) do update set function = excluded.function, every = excluded.every, key = excluded.key,
        depends = null, scopes = null, problem = null;
end $$;

-- Returns whether there was such a live query.
create or replace function pgbell.unlive(function regproc) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from pgbell.live_query q where q.name = pgbell.live_name(unlive.function);
    return found;
end $$;

-- The name by which streams ask for a function's result.
create or replace function pgbell.live_name(function oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select concat_ws('.', nullif(n.nspname, 'public'), p.proname)
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.oid = function
$$;

-- Why a function's result can't be kept fresh, whatever it reads; null if nothing speaks against it.
create or replace function pgbell.unfit_for_live(function oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when function = 0 then 'there is no function'
        when p.prokind <> 'f' then x.f || ' is no function'
        when p.provolatile = 'v' then x.f || ' is VOLATILE: it may do more than read'
        when p.prorettype in ('void'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
            then x.f || ' returns no rows'
        when not exists (select from pgbell.live_columns(p.oid))
            then x.f || ' returns rows without saying of which columns'
        when p.provariadic <> 0 then x.f || ' takes any number of arguments'
        when cardinality(a.names) < p.pronargs or '' = any (a.names[:p.pronargs])
            or exists (select from unnest(p.proargmodes) m (m) where m in ('o', 'b'))
            then x.f || ' has arguments without a name, or by which it returns'
        when exists (
            select from unnest(a.names, p.proargtypes::oid[]) with ordinality y (name, type, i)
            where y.i <= p.pronargs
                and (y.name = 'user_id' and y.type <> 'text'::regtype
                    or y.name = 'groups' and y.type <> 'text[]'::regtype)
        ) then x.f || ' is to have user_id as text, and groups as text[]'
    end
    from pg_proc p, lateral (select p.oid::regprocedure::text) x (f),
        lateral (select coalesce(p.proargnames, '{}')) a (names)
    where p.oid = function
$$;

-- What a server needs to know of a function to call it, types with their schemas; no row if it is gone.
create or replace function pgbell.live_function(function text,
    out schema text, out name text, out argument_names text[], out argument_types text[], out unfit text)
    returns setof record
language sql stable security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
    select n.nspname, p.proname, coalesce(p.proargnames[:p.pronargs], '{}'),
        array(
            select format('%I.%I', tn.nspname, t.typname) from unnest(p.proargtypes::oid[]) with ordinality a (a, i)
            join pg_type t on t.oid = a.a join pg_namespace tn on tn.oid = t.typnamespace order by a.i),
        pgbell.unfit_for_live(p.oid)
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.oid = to_regprocedure(live_function.function)
$$;

-- The columns of a function's result, none for a record whose columns are said where it is called.
create or replace function pgbell.live_columns(function oid, out place bigint, out name text, out type oid)
    returns setof record
language sql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
    select row_number() over (order by c.place), c.name, c.type
    from pg_proc p join pg_type t on t.oid = p.prorettype,
        lateral (
            select a.place, p.proargnames[a.place], a.type
            from unnest(p.proallargtypes, p.proargmodes) with ordinality a (type, mode, place)
            where a.mode = 't'
            union all
            select a.attnum, a.attname, a.atttypid
            from pg_attribute a
            where t.typrelid <> 0 and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
            union all
            select 1, p.proname, p.prorettype
            where t.typrelid = 0 and t.oid <> 'record'::regtype
                and coalesce('t' <> all (p.proargmodes), true)
        ) c (place, name, type)
    where p.oid = function
$$;

-- Notes what a server found.
create or replace function pgbell.found_live(name text, depends text[], scopes text[], problem text) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update pgbell.live_query q
    set depends = found_live.depends, scopes = found_live.scopes, problem = found_live.problem
    where q.name = found_live.name and (q.depends, q.scopes, q.problem)
        is distinct from (found_live.depends, found_live.scopes, found_live.problem)
$$;

-- Another text, as a rule, once a live query may read other tables, or have other scopes, than before.
create or replace function pgbell.live_mark() returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select md5(concat_ws('/', m.mark, (
        select sum(hashtextextended(concat_ws('/', x.*), 0)) from (
            select 0, p.oid, p.xmin from pg_proc p where p.oid >= 16384
            union all select 1, r.oid, r.xmin from pg_rewrite r where r.oid >= 16384
            union all select 2, p.oid, p.xmin from pg_policy p
            union all select 3, d.objoid, d.xmin from pg_description d
            where d.classoid = 'pg_proc'::regclass and d.objoid >= 16384
        ) x), (
        select string_agg(concat_ws('/', q.name, q.function, q.every, q.key), ',' order by q.name)
        from pgbell.live_query q)))
    from pgbell.catalog_mark() m
$$;

create or replace view pgbell.lives as
select q.function, q.depends, q.scopes, case
        when to_regprocedure(q.function) is null then 'the function is gone'
        when q.problem is not null then q.problem
        when q.depends is null then 'no server has looked at it yet: it takes pgbell serve --live-role'
        else 'ok' end as state, q.name, q.every, q.key
from pgbell.live_query q
order by q.name;
