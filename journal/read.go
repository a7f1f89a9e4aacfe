package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
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
	rows, err := db.Query(ctx, `select pgbell.cursor(), s.floor::text,
		coalesce((select j.xid from pgbell.journal j order by j.xid desc offset $1 limit 1), '0')::text
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

// readSQL gives, before all else, the cursor and the floor of this very snapshot,
// so that what one call misses the next one gets: pgbell.cursor() may be shortened,
// which among many writers would repeat everything over and over. With them it says
// what nextSQL may ask, if the role may: of the journal's two tables the one that is
// written, once no transaction can write to the other any more. Then the records
// that the cursor of $1, $2 and $3 doesn't cover, unless there is a gap. Two
// branches, since each is a range of the index alone.
const readSQL = `
with head as materialized (
	select case when $5 <> '' then $5 else split_part(pgbell.cursor(), '-', 1) end as incarnation, floor, turn,
		case when not has_sequence_privilege('pgbell.journal_turn', 'select')
				or not has_table_privilege('pgbell.journal_0', 'select') or not has_table_privilege('pgbell.journal_1', 'select') then null
			when turn = pg_sequence_last_value('pgbell.journal_turn') then 'journal' || case when quiet_at is null then '' else '_' || slot end
		end as source
	from pgbell.journal_state where one
)
select incarnation || '-' || pg_current_snapshot(), floor::text, turn, source,
	null::bigint as seq, 0 as part, null, null::timestamptz, null, null, null, null
from head
union all
select null, null, null, null, seq, part, xid::text, at, tbl, op, origin, changes
from pgbell.journal
where xid >= $2::xid8 and (select incarnation = $4 and floor <= $1::xid8 from head)
union all
select null, null, null, null, seq, part, xid::text, at, tbl, op, origin, changes
from pgbell.journal
where xid = any ($3::xid8[]) and (select incarnation = $4 and floor <= $1::xid8 from head)
order by seq nulls first, part`

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
	incarnation string // empty before the first reading
	next        next
	names       map[string]string
}

// Read calls each for every record that since doesn't cover, in order, and
// returns the cursor that covers them all and the oldest from which the journal
// can still be read. It gives a [Gap] if since is older than that or of another
// incarnation. One statement, no transaction: nothing is held open between calls.
// Once each has returned an error, end ctx: else what is left of the answer is
// waited for.
func (r *Reader) Read(ctx context.Context, since Cursor, each func(Record) error) (end, floor Cursor, err error) {
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
	rows, err := r.DB.Query(ctx, readSQL, xid(since.Xmin), xid(since.Xmax), xip, since.Incarnation, r.incarnation)
	if err != nil {
		return Cursor{}, Cursor{}, err
	}
	defer rows.Close()
	var w wireRow
	for rows.Next() {
		if err := rows.Scan(&w.cursor, &w.floor, &w.turn, &w.source, &w.seq, &w.part, &w.xid, &w.at, &w.tbl, &w.op, &w.origin, &w.changes); err != nil {
			return Cursor{}, Cursor{}, err
		}
		if !w.seq.Valid {
			if end, floor, err = parseHead(string(w.cursor), string(w.floor)); err != nil {
				return Cursor{}, Cursor{}, err
			}
			r.incarnation = end.Incarnation
			r.next.follow(end, floor, w.turn.Int64, string(w.source))
			continue
		}
		record := Record{Seq: w.seq.Int64, Part: w.part, At: w.at.Time, Table: r.name(w.tbl), Origin: string(w.origin)}
		record.Tx, err = strconv.ParseUint(string(w.xid), 10, 64)
		if err == nil {
			err = record.decode(string(w.op), w.changes)
		}
		if err == nil {
			err = each(record)
		}
		if err != nil {
			return Cursor{}, Cursor{}, err
		}
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

// Read is a single reading of a [Reader] of db.
func Read(ctx context.Context, db Querier, since Cursor, each func(Record) error) (end, floor Cursor, err error) {
	return (&Reader{DB: db}).Read(ctx, since, each)
}

// wireRow is a row that readSQL gives. Its bytes are good until the next.
type wireRow struct {
	cursor, floor, source pgtype.DriverBytes // of the first row only, as turn
	turn, seq             pgtype.Int8
	part                  int
	xid                   pgtype.DriverBytes
	at                    pgtype.Timestamptz
	tbl, op, origin       pgtype.DriverBytes
	changes               []byte // its own
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
func Volatile(ctx context.Context, db Querier) (map[string][]Template, error) {
	rows, err := db.Query(ctx, "select table_name, scopes from pgbell.feeds where not durable")
	if err != nil {
		return nil, err
	}
	feeds := map[string][]Template{}
	var table string
	var scopes []string
	_, err = pgx.ForEachRow(rows, []any{&table, &scopes}, func() error {
		templates, err := ParseTemplates(scopes)
		feeds[table] = templates
		return err
	})
	return feeds, err
}
