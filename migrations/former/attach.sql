-- Attaches again what the former schema had attached, and grants again what its listeners had. A feed
-- that can't be attached as it was stays behind: it takes a decision, and the others are not to wait.
do $$
declare
    former constant jsonb := current_setting('pgbell.former');
    f      record;
begin
    perform set_config('role', former ->> 'role', true);
    perform pgbell.grant_listener(r.r) from jsonb_array_elements_text(former -> 'listeners') r (r);
    -- Those who listen to them missed what the former journal had.
    insert into pgbell.detached select d.d::oid from jsonb_array_elements_text(former -> 'detached') d (d);
    for f in
        select * from jsonb_to_recordset(former -> 'feeds')
            x (target oid, tbl text, scopes text[], audience text[], columns text[], payload text[], durable boolean)
    loop
        begin
            perform pgbell.attach(f.target, f.scopes, f.audience, f.columns, f.payload, f.durable);
        exception
            when lock_not_available or deadlock_detected then
                raise; -- to migrate again is all it takes
            when others then
                raise warning '% is not attached any more: %', f.tbl, sqlerrm
                    using hint = format('Put that right, then: select pgbell.attach(%L, scopes => %L, audience => %L, columns => %L, payload => %L, durable => %L)',
                        f.tbl, f.scopes, f.audience, f.columns, f.payload, f.durable);
        end;
    end loop;
end $$;
