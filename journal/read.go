package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
)

// Querier is a connection or a pool that runs one query.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// maxFill is how many records, of up to 500 changes each, a reader that starts
// looks back at most.
const maxFill = 100_000

// Floor returns the oldest cursor that is worth reading from: the journal reaches
// back to it, and it leaves out no more than the newest 100,000 records.
func Floor(ctx context.Context, db Querier) (Cursor, error) {
	rows, err := db.Query(ctx, `select pgbell.cursor(), s.floor::pg_catalog.text,
		coalesce((select xid from pgbell.journal where `+native+`
			order by xid desc offset $1 limit 1), '0')::pg_catalog.text
		from pgbell.journal_state s where s.one`, maxFill)
	if err != nil {
		return Cursor{}, err
	}
	type head struct{ cursor, floor, before string }
	h, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (h head, err error) {
		return h, row.Scan(&h.cursor, &h.floor, &h.before)
	})
	if err != nil {
		return Cursor{}, err
	}
	_, floor, err := parseHead(h.cursor, h.floor)
	if err != nil {
		return Cursor{}, err
	}
	before, err := strconv.ParseUint(h.before, 10, 64)
	floor.Xmin = max(floor.Xmin, before+1)
	floor.Xmax = floor.Xmin
	return floor, err
}

// columns are those of a record, in the order in which nextRecord reads them. Texts come in
// UTF8, or null where that can't say them. Of a database in UTF8 they are sent as they are:
// to call pgbell.utf8 for each takes eight times as long as to read it.
const (
	columns = "lsn, part, xid, at, definition, " + ifUTF8 + "textsend(tbl) else pgbell.utf8(tbl) end, op, " +
		ifUTF8 + "textsend(origin) else pgbell.utf8(origin) end, " + ifUTF8 + "array_send(facts) else pgbell.utf8(facts) end, statement"
	ifUTF8 = "case when pg_catalog.getdatabaseencoding() operator(pg_catalog.=) 'UTF8' then pg_catalog."
)

// native is true of a record that a transaction of this database wrote. One that came with a
// copy has another's id: one that this server has yet to give out, or had when it put the
// record there, is told by that. A lower one is of a subtransaction's record, or of before
// the copy, which no cursor of this database reaches.
const native = `xid operator(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
	and pg_catalog.age(xid::pg_catalog.xid) operator(pg_catalog.>=) pg_catalog.age(xmin)`

// stepSQL is the last step of the rotation, with the half that is written now, both read
// outside MVCC: a restored dump may set either.
const stepSQL = `(pg_catalog.pg_sequence_last_value('pgbell.rotation') operator(pg_catalog.*) 2
	operator(pg_catalog.+) pg_catalog.mod(pg_catalog.pg_sequence_last_value('pgbell.gate'), 2))`

// readSQL gives, before all else, the cursor and the floor of this very snapshot,
// so that what one call misses the next one gets: pgbell.cursor() may be shortened,
// which among many writers would repeat everything over and over. With them it says
// what nextSQL may ask, if the role may: of the journal's two halves the one that is
// written, once no transaction can write to the other any more. Then the records
// that the cursor of $1, $2 and $3 doesn't cover, unless there is a gap. Two
// branches, since each is a range of the index alone. It names the schema of all that it
// calls, operators too, for the connection's search_path is not ours.
const readSQL = `
with head as materialized (
	select case when $5::pg_catalog.text operator(pg_catalog.<>) '' then $5 else pg_catalog.split_part(pgbell.cursor(), '-', 1) end as incarnation, floor,
		step operator(pg_catalog.*) 2 operator(pg_catalog.+) half as step,
		case when not pg_catalog.has_sequence_privilege('pgbell.rotation', 'select') or not pg_catalog.has_sequence_privilege('pgbell.gate', 'select')
				or not pg_catalog.has_table_privilege('pgbell.journal_0', 'select') or not pg_catalog.has_table_privilege('pgbell.journal_1', 'select') then null
			when step operator(pg_catalog.*) 2 operator(pg_catalog.+) half operator(pg_catalog.=) ` + stepSQL + ` then pg_catalog.concat('journal', case when quiet_at is not null then pg_catalog.concat('_', half) end)
		end as source
	from pgbell.journal_state where one
)
select pg_catalog.concat(incarnation, '-', pg_catalog.pg_current_snapshot()), floor::pg_catalog.text, step, source,
	null::pg_catalog.pg_lsn as lsn, 0::pg_catalog.int8 as part, null::pg_catalog.xid8 as xid, null::pg_catalog.timestamptz, null::pg_catalog.int4,
	null::pg_catalog.bytea, null, null::pg_catalog.bytea, null::pg_catalog.bytea, null::pg_catalog.timestamptz
from head
union all
select null, null, null, null, ` + columns + `
from pgbell.journal
where xid operator(pg_catalog.>=) $2::pg_catalog.xid8 and ` + native + `
	and (select incarnation operator(pg_catalog.=) $4 and floor operator(pg_catalog.<=) $1::pg_catalog.xid8 from head)
union all
select null, null, null, null, ` + columns + `
from pgbell.journal
where xid operator(pg_catalog.=) any ($3::pg_catalog.xid8[]) and ` + native + `
	and (select incarnation operator(pg_catalog.=) $4 and floor operator(pg_catalog.<=) $1::pg_catalog.xid8 from head)
order by lsn nulls first, xid, part`

// Gap is the error that says: what happened since the cursor can't be told any
// more. Its text is the reason of the resets that follow.
type Gap string

func (g Gap) Error() string { return string(g) }

// The reasons for which continuity can't be proved.
const (
	GapIncarnation Gap = "the database server was restarted" // transaction ids may come again
	GapRetention   Gap = "the journal does not reach back that far"
)

// gap returns what is between c and now, given how far the journal reaches back.
func (c Cursor) gap(floor Cursor) Gap {
	switch {
	case c.Incarnation != floor.Incarnation:
		return GapIncarnation
	case c.Xmin < floor.Xmin:
		return GapRetention
	}
	return ""
}

// Reader reads the journal over one connection, which must not be used meanwhile. It
// asks for the server's incarnation once, for that ends all connections when it ends.
type Reader struct {
	DB          Querier
	Definitions *Definitions // what facts mean; nil: loaded by the first reading
	incarnation string       // empty before the first reading
	next        next
	names       map[string]string
	order       order
}

// Read calls each for every record that since doesn't cover, in the order in which they
// were recorded (see [Reader.InOrder]), and returns the cursor that covers them all and
// the oldest from which the journal can still be read. It gives a [Gap] if since is older
// than that or of another incarnation. One statement, no transaction: nothing is held open
// between calls. Once each has returned an error, end ctx: else what is left of the answer
// is waited for.
func (r *Reader) Read(ctx context.Context, since Cursor, each func(*Record) error) (end, floor Cursor, err error) {
	if r.Definitions == nil {
		r.Definitions = new(Definitions)
		if err := r.Definitions.Load(ctx, r.DB); err != nil {
			return Cursor{}, Cursor{}, err
		}
	}
	if conn, ok := r.DB.(*pgx.Conn); ok && r.next.may(since) {
		end, err = r.readNext(ctx, conn.PgConn(), since, each)
		if err != nil || !end.IsZero() {
			return end, r.next.floor, err
		}
	}
	xid := func(x uint64) string { return strconv.FormatUint(x, 10) }
	xip := make([]string, len(since.Xip))
	for i, x := range since.Xip {
		xip[i] = xid(x)
	}
	rows, err := r.DB.Query(ctx, readSQL, pgx.QueryResultFormats{pgx.BinaryFormatCode},
		xid(since.Xmin), xid(since.Xmax), xip, since.Incarnation, r.incarnation)
	if err != nil {
		return Cursor{}, Cursor{}, err
	}
	defer rows.Close()
	for rows.Next() {
		v := rows.RawValues()
		if v[4] != nil {
			if err = r.nextRecord(v[4:], each); err != nil {
				return Cursor{}, Cursor{}, err
			}
			continue
		}
		if end, floor, err = parseHead(string(v[0]), string(v[1])); err != nil {
			return Cursor{}, Cursor{}, err
		}
		step, ok := number64(v[2])
		if !ok {
			return Cursor{}, Cursor{}, errAnswer
		}
		r.incarnation = end.Incarnation
		r.next.follow(end, floor, step, string(v[3]))
	}
	switch err := rows.Err(); {
	case err != nil:
		return Cursor{}, Cursor{}, err
	case end.IsZero():
		return Cursor{}, Cursor{}, errors.New("pgbell.journal_state is empty: run pgbell migrate down, then up")
	}
	if gap := since.gap(floor); gap != "" {
		return end, floor, gap
	}
	return end, floor, nil
}

// InOrder returns all records of one reading in the order in which they are to be told:
// nobody who applies them ends with something else than what the tables hold. What can't
// be ordered for certain gets a reset, among the records that are returned. It may change
// records.
func (r *Reader) InOrder(records []*Record) []*Record { return r.order.tell(records) }

// Read is a single reading of a [Reader] of db, in order.
func Read(ctx context.Context, db Querier, since Cursor, each func(*Record) error) (end, floor Cursor, err error) {
	r := &Reader{DB: db}
	var records []*Record
	end, floor, err = r.Read(ctx, since, func(r *Record) error {
		records = append(records, r)
		return nil
	})
	for _, record := range r.InOrder(records) {
		if err == nil {
			err = each(record)
		}
	}
	return end, floor, err
}

// maxNames is how many names of tables a Reader keeps.
const maxNames = 1000

// name returns b as a string, the same for each record of a table.
func (r *Reader) name(b []byte) string {
	name, ok := r.names[string(b)]
	if !ok {
		if name = string(b); r.names == nil || len(r.names) > maxNames {
			r.names = map[string]string{}
		}
		r.names[name] = name
	}
	return name
}

func parseHead(cursor, floor string) (end, oldest Cursor, err error) {
	if end, err = parseCursor(cursor); err != nil {
		return Cursor{}, Cursor{}, fmt.Errorf("pgbell.cursor(): %w", err)
	}
	xid, err := strconv.ParseUint(floor, 10, 64)
	xid = max(xid, 1) // a new journal's floor is 0, which is no transaction
	return end, Cursor{Incarnation: end.Incarnation, Xmin: xid, Xmax: xid}, err
}

// Volatile returns the tables whose feeds are not durable, each with the
// templates of its scopes.
func Volatile(ctx context.Context, db Querier) (map[string][]scope.Template, error) {
	all, _, err := feeds(ctx, db, "not durable")
	return all, err
}

// Amiss returns, as Volatile does, the tables with whose feeds something is wrong, as
// their state says: changes may go unheard. What a TRUNCATE of a new partition changes is
// heard late: see pgbell.look_at_parts. regroup: one of them says who is in which group.
func Amiss(ctx context.Context, db Querier) (tables map[string][]scope.Template, regroup bool, err error) {
	return feeds(ctx, db, "state operator(pg_catalog.<>) 'ok' and not pg_catalog.starts_with(state, 'TRUNCATE of ')")
}

// Tables whose names can't be said in UTF8 are "", as in their records.

func feeds(ctx context.Context, db Querier, where string) (feeds map[string][]scope.Template, regroup bool, err error) {
	rows, err := db.Query(ctx, "select pgbell.utf8(table_name), pgbell.utf8(scopes), regroup is not null from pgbell.feeds where "+where)
	if err != nil {
		return nil, false, err
	}
	feeds = map[string][]scope.Template{}
	var (
		table, scopes []byte
		regroups      bool
	)
	_, err = pgx.ForEachRow(rows, []any{&table, &scopes, &regroups}, func() error {
		regroup = regroup || regroups
		facts, ok := readFacts(nil, string(scopes))
		if !ok {
			return errAnswer
		}
		for _, f := range facts {
			t, err := scope.Parse(f.text)
			if err != nil {
				return err
			}
			feeds[string(table)] = append(feeds[string(table)], t)
		}
		return nil
	})
	return feeds, regroup, err
}
