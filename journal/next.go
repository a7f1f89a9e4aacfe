package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// nextSQL gives what was written since a cursor of a moment ago, for less than
// readSQL takes: from the one table that is written, as a rule, and of what is between
// the cursor's xmin and its xmax, which is hardly anything, it passes over what was seen.
// The second column tells whether a step of the rotation was taken since that table
// was found to be enough: if not, then the journal reaches back to the cursor, too.
const nextSQL = `
select pg_current_snapshot()::text, pg_sequence_last_value('pgbell.journal_turn'),
	null::bigint as seq, 0 as part, null::xid8, null::timestamptz, null, null, null, null
union all
select null, null, seq, part, xid, at, tbl, op, origin, changes
from pgbell.%s
where xid >= $1::xid8 and (xid >= $2::xid8 or xid = any ($3::xid8[]))
order by seq nulls first, part`

// near is how many transactions may be between xmin and xmax for nextSQL.
const near = 200

// next is what a reading found that the next ones may build on, until the rotation
// takes a step.
type next struct {
	turn       int64
	source     string // the table from which nextSQL may read; empty: none
	from       Cursor // where that reading ended
	floor      Cursor
	statements map[string]*pgconn.StatementDescription // by source
}

func (n *next) follow(from, floor Cursor, turn int64, source string) {
	n.from, n.floor, n.turn, n.source = from, floor, turn, source
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
func (r *Reader) readNext(ctx context.Context, conn *pgconn.PgConn, since Cursor, each func(Record) error) (end Cursor, err error) {
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
		turn, ok := number(v[1])
		if stale = !ok || turn != r.next.turn; !stale {
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

// nextRecord calls each for the record in a row of nextSQL, from its seq on.
func (r *Reader) nextRecord(v [][]byte, each func(Record) error) error {
	seq, ok := number(v[0])
	part, okPart := number(v[1])
	tx, okTx := number(v[2])
	at, okAt := number(v[3])
	if !ok || !okPart || !okTx || !okAt || v[5] == nil || v[7] == nil {
		return errAnswer
	}
	record := Record{
		Seq: seq, Part: int(part), Tx: uint64(tx), At: time.UnixMicro(postgresEpoch + at),
		Table: r.name(v[4]), Origin: string(v[6]),
	}
	if err := record.decode(string(v[5]), bytes.Clone(v[7])); err != nil {
		return err
	}
	return each(record)
}

// postgresEpoch is 2000-01-01 UTC, from which Postgres counts microseconds where it
// sends a timestamptz in binary: timestamptz_send, POSTGRES_EPOCH_JDATE.
const postgresEpoch = 946_684_800_000_000

// number is an integer as Postgres sends it in binary, of four or eight bytes.
func number(b []byte) (n int64, ok bool) {
	switch len(b) {
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b))), true
	case 8:
		return int64(binary.BigEndian.Uint64(b)), true
	}
	return 0, false
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
