-- Whether writers are to ring, and how they do.
--
-- A notification makes those who commit wait for each other: Postgres holds one lock for the whole
-- cluster from before such a commit until it is flushed. So writers ring only while somebody waits to
-- be rung: a server that is busy reads the journal every few milliseconds instead, and where there is
-- none nobody rings. Which of the two a writer saw is a matter of latency only, never of what is
-- delivered.

-- A server says that it waits, for as long as lease; with '0', that it doesn't any more. Others that
-- wait are rung all the same.
create or replace function pgbell.arm(server text, lease interval) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
    moment constant timestamptz := clock_timestamp();
begin
    -- One at a time: of two, the later sees what the earlier wrote.
    lock table pgbell.waiting in share row exclusive mode;
    delete from pgbell.waiting w where w.server = arm.server or w.until < moment;
    if lease > '0' then
        insert into pgbell.waiting values (left(arm.server, 64), moment + least(lease, '1 minute'));
    end if;
    perform setval('pgbell.gate', (g.last_value & 1)
        + 2 * (select coalesce(ceil(max(extract(epoch from w.until)) * 1000), 0)::bigint from pgbell.waiting w))
    from pgbell.gate g;
end $$;

-- Whether somebody waits to be rung; null for no.
create or replace function pgbell.armed() returns boolean
language sql volatile
return pg_sequence_last_value('pgbell.gate') / 2 > date_part('epoch', clock_timestamp()) * 1000;

-- Bytes outside A-Za-z0-9_.:@/+=~- as %XX, so that no value can forge a frame, break an htmx trigger, or
-- need quoting in JSON.
create or replace function pgbell.percent_encode(value text) returns text
language sql immutable strict parallel safe
return (
    select coalesce(string_agg(
        case when b between 97 and 122 or b between 65 and 90 or b between 43 and 58 and b <> 44
                or b in (61, 64, 95, 126)
            then chr(b) else '%' || upper(lpad(to_hex(b), 2, '0')) end, '' order by i), '')
    from convert_to(value, case getdatabaseencoding() when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end) bytes,
        generate_series(0, octet_length(bytes) - 1) i,
        get_byte(bytes, i) b
);

-- The same, but what is percent-encoded already stays so.
create or replace function pgbell.canonical_scope(scope text) returns text
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(string_agg(
        case when m[1] ~ '^%[0-9A-Fa-f]{2}$' then upper(m[1]) else pgbell.percent_encode(m[1]) end, '' order by i), '')
    from regexp_matches(scope, '%[0-9A-Fa-f]{2}|%|[^%]+', 'g') with ordinality matches (m, i)
$$;

-- Names that a stream uses itself.
create or replace function pgbell.reserved_scopes() returns text[]
language sql immutable parallel safe
return '{"",open,error,message,ready,close}'::text[];

-- percent_encode of what is to be rung. Null if a byte of it is no character in UTF8.
create or replace function pgbell.encoded(value text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return pgbell.percent_encode(value);
exception when untranslatable_character or character_not_in_repertoire then
    return null;
end $$;

-- A scope, of the literals and the columns' values of a template in turns: literal, value, literal and
-- so on. Null if a value is, or if the scope is too long or reserved. Only writers that ring need it: a
-- hint, where the server reads the facts.
create or replace function pgbell.scope(variadic pieces text[]) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    made text := '';
begin
    for i in 1 .. cardinality(pieces) loop
        made := made || case
            when i % 2 = 1 or pieces[i] collate "C" !~ '[^A-Za-z0-9_.:@/+=~-]' then pieces[i]
            when octet_length(pieces[i]) <= 256 then pgbell.encoded(pieces[i]) end;
    end loop;
    return case when octet_length(made) <= 256 and made <> all (pgbell.reserved_scopes()) then made end;
end $$;

-- What rings for a durable feed: the scopes of its rows, a row in each of scopes, or null if they are too
-- many, or too long for 7,900 bytes.
create or replace function pgbell.payload(tbl text, op text, scopes text[]) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    head constant text := format('{"v":1,"table":%s,"op":"%s","scopes":', coalesce(to_json(tbl)::text, 'null'), op);
    list text;
begin
    if array_length(scopes, 1) <= 100 then
        select '["' || string_agg(distinct s.s, '","') || '"]' into list from unnest(scopes) s (s);
    end if;
    return head || coalesce(case when octet_length(head || list) < 7900 then list end, 'null') || '}';
end $$;

-- Rings for a durable feed, if somebody waits for it, and no other session rang in the last 5 ms: of many
-- sessions that begin to write at once, one is enough. A server that was rung reads again a few times, later
-- and later, and so hears of the others; if the one that rang commits late, the others are heard at the
-- server's next tick. It doesn't ring once Postgres' notification queue is half full, since a full one makes
-- commits fail: a durable feed loses nothing by that but speed.
create or replace function pgbell.ring(tbl text, op text, scopes text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    moment  constant bigint := floor(date_part('epoch', clock_timestamp()) * 1000);
    session constant bigint := pg_backend_pid() % 1000;
    rung    constant bigint := coalesce(pg_sequence_last_value('pgbell.rung'), 0);
begin
    if array_length(scopes, 1) <= 100 and not exists (select from unnest(scopes) s (s) where s.s is not null) then
        return; -- nobody hears of these rows
    elsif pgbell.armed() and (rung % 1000 = session or moment - rung / 1000 not between 0 and 4)
        and pg_notification_queue_usage() <= 0.5
    then
        perform setval('pgbell.rung', moment * 1000 + session);
        perform pg_notify('pgbell', pgbell.payload(tbl, op, scopes));
    end if;
end $$;

-- A notification as it is sent. In a database of another encoding than UTF8, what is not ASCII goes in base64:
-- then nothing is left to convert for those who listen. Null if it can't be said in UTF8.
create or replace function pgbell.portable(payload text) returns text
language sql stable
return case when getdatabaseencoding() = 'UTF8' or payload collate "C" !~ '[^ -~]' then payload
    else '{"v":1,"utf8":"' || translate(encode(pgbell.utf8(payload), 'base64'), e'\n', '') || '"}' end;

-- What rings for a feed that is not durable: all that there is to know of one change. One that doesn't fit
-- becomes a reset of the feed's scopes. The time keeps Postgres from folding equal notifications: of in,
-- out, in again, the last must not be the one that is missing.
create or replace function pgbell.facts_payload(definition integer, tbl text, op text, scopes text[], facts text[])
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    payload constant text := json_build_object('v', 1, 'table', tbl, 'op', op,
        'scopes', array(select distinct s.s from unnest(scopes) s (s) where s.s is not null order by 1),
        'definition', definition, 'xid', pg_current_xact_id_if_assigned()::text,
        'at', clock_timestamp() at time zone 'UTC',
        'origin', nullif(left(current_setting('pgbell.origin', true), 256), ''), 'facts', facts);
    sent    constant text := pgbell.portable(payload);
begin
    return case
        when octet_length(sent) <= 7900 then sent
        else pgbell.reset_payload(tbl, op, case when sent is null then 'not in UTF8' else 'too large' end) end;
end $$;

-- Rings for a feed that is not durable, once for each change.
create or replace function pgbell.ring_facts(definition integer, tbl text, op text, scopes text[], facts text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if array_remove(scopes, null) <> '{}' then
        perform pg_notify('pgbell', pgbell.facts_payload(definition, tbl, op, scopes, facts));
    end if;
end $$;

create or replace function pgbell.reset_payload(tbl text, op text, reason text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(pgbell.portable(format(p.p, to_json(tbl))), format(p.p, 'null'))
    from (values (format('{"v":1,"table":%%s,"op":"%s","scopes":null,"reason":"%s"}', op, reason))) p (p)
$$;
