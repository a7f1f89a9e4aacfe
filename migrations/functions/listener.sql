-- What the role of a pgbell server may do, and what version of pgbell this is.

-- Which facts there are, and how they are recorded: a server reads those of its own version only.
create or replace function pgbell.schema_version() returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
return 1;

-- Makes or drops something by a statement that names the schema of all that is not the system's, and calls
-- nothing. Behind the system's schema comes the search_path that the session began with: the database may
-- have event triggers, which see the statement and may look up their own tables by that.
create or replace function pgbell.run(statement text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp -- and back to that in the end
as $$
begin
    perform set_config('search_path', concat_ws(', ', 'pg_catalog', nullif(s.reset_val, ''), 'pg_temp'), true)
    from pg_settings s where s.name = 'search_path';
    execute statement;
exception when object_in_use then
    raise exception '%', sqlerrm using errcode = 'object_in_use',
        hint = 'This transaction has written to the table, and is yet to check constraints that are deferred:'
            ' SET CONSTRAINTS ALL IMMEDIATE before, or attach in a transaction of its own.';
end $$;

-- Takes an object from everybody but its owner: from PUBLIC, and from those to whom ALTER DEFAULT
-- PRIVILEGES gave what is new.
create or replace function pgbell.close_to_all(kind text, object text, acl aclitem[], owner oid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    who oid;
begin
    for who in
        select distinct a.grantee
        from aclexplode(coalesce(acl, case kind when 'function' then acldefault('f', owner) end)) a
        where a.grantee <> owner
    loop
        perform pgbell.run(format('revoke all on %s %s from %s', kind, object,
            case who when 0 then 'public' else quote_ident(pg_get_userbyid(who)) end));
    end loop;
end $$;

-- Gives what is not the schema's owner's to it: what was made just now by a role that may act for it.
create or replace function pgbell.own_all() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    schema pg_namespace;
    what   text;
begin
    select n.* into schema from pg_namespace n where n.nspname = 'pgbell';
    for what in
        select 'routine ' || p.oid::regprocedure from pg_proc p
        where p.pronamespace = schema.oid and p.proowner <> schema.nspowner
        union all
        select case c.relkind when 'c' then 'type ' else 'table ' end || c.oid::regclass from pg_class c
        where c.relnamespace = schema.oid and c.relowner <> schema.nspowner and c.relkind in ('r', 'S', 'v', 'c')
            and not (c.relkind = 'S' and exists ( -- a column's
                select from pg_depend d
                where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('i', 'a')))
    loop
        perform pgbell.run(format('alter %s owner to %I', what, pg_get_userbyid(schema.nspowner)));
    end loop;
end $$;

-- Raises an error unless the schema and all in it are one role's: what is another's can't be called by what
-- is made as the schema's owner.
create or replace function pgbell.must_have_one_owner() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    other record;
begin
    select pg_describe_object(o.classid, o.oid, 0) as what, pg_get_userbyid(o.owner) as owner,
        pg_get_userbyid(n.nspowner) as schemas
    into other
    from pg_namespace n, lateral (
        select 'pg_class'::regclass, c.oid, c.relowner from pg_class c where c.relnamespace = n.oid
        union all select 'pg_proc'::regclass, p.oid, p.proowner from pg_proc p where p.pronamespace = n.oid
    ) o (classid, oid, owner)
    where n.nspname = 'pgbell' and o.owner <> n.nspowner
    order by o.oid = to_regclass('pgbell.journal') desc, o.classid desc, o.oid limit 1;
    if found then
        raise exception 'schema pgbell belongs to %, but % to %', other.schemas, other.what, other.owner
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'All of it must be one role''s. ' || case other.what when 'table pgbell.journal'
                then format('ALTER SCHEMA pgbell OWNER TO %I.', other.owner)
                else format('Drop what pgbell has not made, and give the rest to %I.', other.schemas) end;
    end if;
end $$;

-- Gives a role all that `pgbell serve` needs, to hear of changes, and no more.
create or replace function pgbell.grant_listener(role text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgbell.run(format(g, role)) from unnest(array[
        'grant usage on schema pgbell to %I',
        'grant select on pgbell.journal, pgbell.journal_0, pgbell.journal_1, pgbell.journal_state,
            pgbell.rotation, pgbell.gate, pgbell.definition, pgbell.feeds, pgbell.lives to %I',
        'grant execute on function pgbell.schema_version(), pgbell.cursor(), pgbell.mark_incarnation(),
            pgbell.arm(text, interval), pgbell.rotate(interval), pgbell.table_name(oid), pgbell.listed(),
            pgbell.state(pgbell.feed), pgbell.catalog_mark(), pgbell.look_at_parts(),
            pgbell.utf8(text), pgbell.utf8(text[]), pgbell.live_mark(),
            pgbell.found_live(text, text[], text[], text), pgbell.live_function(text) to %I']) g;
end $$;
