package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// nextSQL gives what was written since a cursor of a moment ago, for less than
// readSQL takes: from the one table that is written, as a rule, and of what is between
// the cursor's xmin and its xmax, which is hardly anything, it passes over what was seen.
// It saves two fifths of Postgres' instructions, and at 2,900 transactions a second a
// sixth of the server's CPU.
// The second column tells whether a step of the rotation was taken since that table
// was found to be enough: if not, then the journal reaches back to the cursor, too.
const nextSQL = `
select pg_catalog.pg_current_snapshot()::pg_catalog.text, ` + stepSQL + `,
	null::pg_catalog.pg_lsn as lsn, 0::pg_catalog.int8 as part, null::pg_catalog.xid8 as xid, null::pg_catalog.timestamptz, null::pg_catalog.int4,
	null::pg_catalog.bytea, null, null::pg_catalog.bytea, null::pg_catalog.bytea, null::pg_catalog.timestamptz
union all
select null, null, ` + columns + `
from pgbell.%s
where xid operator(pg_catalog.>=) $1::pg_catalog.xid8 and ` + native + `
	and (xid operator(pg_catalog.>=) $2::pg_catalog.xid8 or xid operator(pg_catalog.=) any ($3::pg_catalog.xid8[]))
order by lsn nulls first, xid, part`

// near is how many transactions may be between xmin and xmax for nextSQL.
const near = 200

// next is what a reading found that the next ones may build on, until the rotation
// takes a step.
type next struct {
	step       int64
	source     string // the table from which nextSQL may read; empty: none
	from       Cursor // where that reading ended
	floor      Cursor
	statements map[string]*pgconn.StatementDescription // by source
}

func (n *next) follow(from, floor Cursor, step int64, source string) {
	n.from, n.floor, n.step, n.source = from, floor, step, source
}

// may says whether nextSQL gives all that since doesn't cover. What the other table
// has was written by transactions that were over when the reading ended which found
// that out: those that since sees, if it's of no earlier time.
func (n *next) may(since Cursor) bool {
	return n.source != "" && since.Incarnation == n.from.Incarnation && since.Xmin >= n.from.Xmin &&
		since.Xmax-since.Xmin <= near && since.gap(n.floor) == ""
}

// readNext is Read by nextSQL. It returns no cursor if that is not enough any more. It
// asks without what makes pgx convenient, which takes as long as Postgres does.
func (r *Reader) readNext(ctx context.Context, conn *pgconn.PgConn, since Cursor, each func(*Record) error) (end Cursor, err error) {
	statement := r.next.statements[r.next.source]
	if statement == nil {
		if statement, err = conn.Prepare(ctx, "pgbell_next_"+r.next.source, fmt.Sprintf(nextSQL, r.next.source), nil); err != nil {
			return Cursor{}, err
		}
		if r.next.statements == nil {
			r.next.statements = map[string]*pgconn.StatementDescription{}
		}
		r.next.statements[r.next.source] = statement
	}
	answer := conn.ExecStatement(ctx, statement, [][]byte{
		strconv.AppendUint(nil, since.Xmin, 10), strconv.AppendUint(nil, since.Xmax, 10), appendXids(nil, since.Xip),
	}, nil, []int16{1}) // text goes there, binary comes back
	stale := false
	for err == nil && !stale && answer.NextRow() {
		v := answer.Values()
		if v[2] != nil {
			err = r.nextRecord(v[2:], each)
			continue
		}
		step, ok := number64(v[1])
		if stale = !ok || step != r.next.step; !stale {
			end, err = parseCursor(r.incarnation + "-" + string(v[0]))
		}
	}
	if _, closing := answer.Close(); err == nil {
		err = closing
	}
	if stale {
		r.next.source = ""
	}
	if err == nil && !stale && end.IsZero() {
		err = errAnswer
	}
	if err != nil || stale {
		return Cursor{}, err
	}
	return end, nil
}

var errAnswer = errors.New("the journal's answer is not what was asked for")

// nextRecord calls each for the record in a row, which has its columns in binary.
func (r *Reader) nextRecord(v [][]byte, each func(*Record) error) error {
	lsn, ok := number64(v[0])
	part, okPart := number64(v[1])
	tx, okTx := number64(v[2])
	at, okAt := number64(v[3])
	definition, okDefinition := int32(0), true
	if v[4] != nil {
		definition, okDefinition = number32(v[4])
	}
	statement, okStatement := number64(v[9])
	if !okStatement || !ok || !okPart || !okTx || !okAt || !okDefinition || v[6] == nil {
		return errAnswer
	}
	facts := string(v[8])
	if v[4] != nil && v[5] == nil { // the table's name can't be said
		facts = ""
	}
	record := &Record{
		LSN: uint64(lsn), Part: int(part), Tx: uint64(tx), At: time.UnixMicro(postgresEpoch + at),
		Table: r.name(v[5]), Origin: origin(v[7]), statement: statement,
	}
	if err := record.decode(r.Definitions, string(v[6]), definition, facts); err != nil {
		return err
	}
	return each(record)
}

// maxOrigin is how many characters of a setting pgbell.origin travel.
const maxOrigin = 256

func origin(b []byte) string {
	if len(b) > maxOrigin && utf8.RuneCount(b) > maxOrigin {
		return string([]rune(string(b))[:maxOrigin])
	}
	return string(b)
}

// postgresEpoch is 2000-01-01 UTC, from which Postgres counts microseconds where it
// sends a timestamptz in binary: timestamptz_send, POSTGRES_EPOCH_JDATE.
const postgresEpoch = 946_684_800_000_000

// number32 and number64 are integers as Postgres sends them in binary.
func number32(b []byte) (n int32, ok bool) {
	if len(b) != 4 {
		return 0, false
	}
	return int32(binary.BigEndian.Uint32(b)), true
}

func number64(b []byte) (n int64, ok bool) {
	if len(b) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b)), true
}

// appendXids appends xids as the text of a Postgres array.
func appendXids(b []byte, xids []uint64) []byte {
	b = append(b, '{')
	for i, x := range xids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, x, 10)
	}
	return append(b, '}')
}
