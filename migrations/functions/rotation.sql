-- The journal's two halves take turns, so that nothing has to be deleted row by row.

-- One step of the rotation, at most; does nothing when none is due or another session is at it. One
-- half is written while the other rests for at least the retention, then is truncated and takes over. A
-- rest counts from when every transaction that may have written to the half was over, so that a long one
-- only makes the journal longer.
create or replace function pgbell.rotate(retention interval default '1 hour') returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
    fresh   constant boolean := pg_current_xact_id_if_assigned() is null;
    state   pgbell.journal_state;
    current int;
    resting text;
    top     xid8;
begin
    -- A row, not an advisory lock: anybody could hold that, and the journal would only grow.
    select s.* into state from pgbell.journal_state s for update skip locked;
    if not found then
        return 'busy';
    end if;
    select q.last_value & 1 into current from pgbell.gate q;
    resting := 'pgbell.journal_' || 1 - current;

    -- The sequence keeps a switch that was rolled back.
    if current <> state.half then
        update pgbell.journal_state
        set step = nextval('pgbell.rotation'), half = current, since = clock_timestamp(), fence = null, quiet_at = null;
        return 'switched';
    end if;

    -- The sequence keeps a step that was rolled back, too, and a crash moves it on: it is 32 ahead in the WAL.
    -- Readers would take that for a step under way, until there is one.
    if state.step <> pg_sequence_last_value('pgbell.rotation') then
        update pgbell.journal_state set step = nextval('pgbell.rotation');
    end if;

    if state.quiet_at is null then
        -- Set one step after the switch: a writer that looked up the half before it has a lower id than
        -- one that is given out now.
        if state.fence is null and not fresh then
            return 'waiting for transactions';
        elsif state.fence is null then
            update pgbell.journal_state set step = nextval('pgbell.rotation'), fence = pg_current_xact_id();
            return 'waiting for transactions';
        elsif pg_snapshot_xmin(pg_current_snapshot()) < state.fence then
            return 'waiting for transactions';
        end if;
        update pgbell.journal_state set step = nextval('pgbell.rotation'), quiet_at = clock_timestamp();
        return 'resting';
    end if;

    -- Of this database: a copy may have brought ids that are yet to come here.
    execute format('select least(xid, pg_snapshot_xmax(pg_current_snapshot())) from %s order by xid desc limit 1',
        resting) into top;
    if top is not null then
        if state.quiet_at + retention > clock_timestamp() then
            return 'resting';
        end if;
        -- Nobody writes there: only a reader can be in the way, and not for long.
        begin
            execute format('lock table %s in access exclusive mode', resting);
        exception when lock_not_available then
            return 'waiting for readers';
        end;
        execute format('select xid from %s where xid < pg_snapshot_xmax(pg_current_snapshot())
            order by xid desc limit 1', resting) into top;
        update pgbell.journal_state s
        set step = nextval('pgbell.rotation'),
            floor = greatest(s.floor, coalesce((top::text::numeric + 1)::text::xid8, '0'))
        returning s.floor into top;
        execute format('truncate %s', resting);
        delete from pgbell.definition d
        where d.replaced < top and not exists (select from pgbell.journal j where j.definition = d.id);
        return 'truncated';
    end if;

    execute format('select xid from pgbell.journal_%s limit 1', current) into top;
    if top is null or state.since + retention / 2 > clock_timestamp() then
        return 'fresh';
    end if;
    begin
        lock table pgbell.waiting in share row exclusive mode;
    exception when lock_not_available then
        return 'busy';
    end;
    update pgbell.journal_state
    set step = nextval('pgbell.rotation'), half = 1 - current, since = clock_timestamp(), fence = null, quiet_at = null;
    perform setval('pgbell.gate', q.last_value - current + 1 - current) from pgbell.gate q;
    return 'switched';
end $$;
