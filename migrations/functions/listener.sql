-- What the role of a pgbell server may do, and what version of pgbell this is.

-- Which facts there are, and how they are recorded: a server reads those of its own version only.
create or replace function pgbell.schema_version() returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
return 1;

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
        execute format('revoke all on %s %s from %s', kind, object,
            case who when 0 then 'public' else quote_ident(pg_get_userbyid(who)) end);
    end loop;
end $$;

-- Gives a role all that `pgbell serve` needs, to hear of changes, and no more.
create or replace function pgbell.grant_listener(role text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant usage on schema pgbell to %I', role);
    execute format('grant select on pgbell.journal, pgbell.journal_0, pgbell.journal_1, pgbell.journal_state,
        pgbell.rotation, pgbell.definition, pgbell.feeds to %I', role);
    execute format('grant execute on function pgbell.schema_version(), pgbell.cursor(), pgbell.mark_incarnation(),
        pgbell.arm(text, interval), pgbell.rotate(interval), pgbell.table_name(oid), pgbell.state(pgbell.feed)
        to %I', role);
end $$;
