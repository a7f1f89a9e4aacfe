-- What an app says itself: its own events, and the end of a user's streams.

create or replace function pgbell.publish(scope text, data jsonb default null, audience text[] default null)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    canonical text := pgbell.canonical_scope(scope);
    event     text := json_build_object('scope', canonical, 'audience', array_remove(audience, null), 'data', data);
begin
    if canonical is null or canonical = any (pgbell.reserved_scopes()) then
        raise exception 'scope "%" is reserved or empty', scope
            using errcode = 'reserved_name',
            hint = 'A stream uses the names open, error, message, ready and close itself.';
    elsif octet_length(canonical) > 256 then
        raise exception 'scope "%..." is longer than 256 bytes', left(scope, 40)
            using errcode = 'invalid_parameter_value';
    end if;
    if pgbell.utf8(event) is null or octet_length(event) > 1000000 then -- who listens is to fetch
        perform pgbell.record(null, null, 'attach', array[json_build_object('templates', array[canonical],
            'reason', case when octet_length(event) > 1000000 then 'too large' else 'not in UTF8' end)::text]);
    else
        perform pgbell.record(null, null, 'publish', array[event]);
    end if;
    perform pgbell.ring(null, 'publish', array[array[canonical]]);
end $$;

-- Ends the streams of a user, on all servers, once the transaction commits: all, or
-- those that listen to scope. Through the journal, so that a server which does not
-- hear it now does so when it is back.
create or replace function pgbell.disconnect(user_id text, scope text default null) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if user_id is null or user_id = '' then
        raise exception 'there is no user id: the anonymous cannot be told apart'
            using errcode = 'invalid_parameter_value';
    elsif pgbell.utf8(user_id) is null then
        raise exception 'the user id is not in UTF8: no stream has it' using errcode = 'invalid_parameter_value';
    end if;
    perform pgbell.record(null, null, 'disconnect', array[
        json_build_object('user', user_id, 'scope', pgbell.canonical_scope(scope))::text]);
    perform pgbell.ring(null, 'disconnect', null);
end $$;
