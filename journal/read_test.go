package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/journal/scope"
)

// readAll reads on from since.
func readAll(t *testing.T, conn *pgx.Conn, since Cursor) (records []*Record, end Cursor) {
	t.Helper()
	end, _, err := Read(t.Context(), conn, since, func(r *Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, end
}

// bothRead reads on from since as who has just read before does and as who hasn't,
// which must be the same.
func bothRead(t *testing.T, r *Reader, since Cursor) (records []*Record, end Cursor) {
	t.Helper()
	want, _ := readAll(t, r.DB.(*pgx.Conn), since)
	end, _, err := r.Read(t.Context(), since, func(r *Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, records, cmp.AllowUnexported(Record{}, filter{})); diff != "" {
		t.Fatalf("since %v (-first +next reading):\n%s", since, diff)
	}
	return records, end
}

func floorOf(t *testing.T, conn *pgx.Conn) Cursor {
	t.Helper()
	floor, err := Floor(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return floor
}

func publish(t *testing.T, conn *pgx.Conn, scope string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "select pgbell.publish($1)", scope); err != nil {
		t.Fatal(err)
	}
}

// Each transaction's record comes once, when it committed, even where the text of
// a cursor has no room for all that are running.
func TestReadGivesEachRecordOnceAmongManyWriters(t *testing.T) {
	const writers = 71
	url := pgtest.Migrated.Database(t)
	reader := connect(t, url)
	r := &Reader{DB: reader}
	var open []*pgx.Conn
	for i := range writers {
		conn := connect(t, url)
		exec(t, conn, "begin")
		publish(t, conn, fmt.Sprint("w:", i))
		open = append(open, conn)
	}
	floor := floorOf(t, reader)
	publish(t, connect(t, url), "done") // a snapshot ends behind the last that is over
	records, end := bothRead(t, r, floor)
	if len(records) != 1 || len(end.Xip) != writers {
		t.Fatalf("got %d records, %d running, want 1 and %d", len(records), len(end.Xip), writers)
	}
	if text := end.String(); len(text) > 256 || text == end.text() {
		t.Fatalf("the cursor's text was not shortened: %s", text)
	}
	for i := range writers {
		i = (i*7 + 3) % writers // some order
		exec(t, open[i], "commit")
		if records, end = bothRead(t, r, end); len(records) != 1 || records[0].Changes[0].Scopes[0] != fmt.Sprint("w:", i) {
			t.Fatalf("after the commit of %d: got %+v", i, records)
		}
	}
}

func TestRecordsComeInOrderOfSequence(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	conn, other := connect(t, url), connect(t, url)
	floor := floorOf(t, conn)
	exec(t, other, "begin")
	publish(t, other, "first")
	publish(t, conn, "second")
	publish(t, other, "third")
	exec(t, conn, "begin")
	publish(t, conn, "never")
	exec(t, conn, "rollback")
	exec(t, other, "savepoint s")
	publish(t, other, "never")
	exec(t, other, "rollback to s; savepoint s2")
	publish(t, other, "fourth")
	exec(t, other, "commit")
	records, end := readAll(t, conn, floor)
	var got []string
	for _, r := range records {
		got = append(got, r.Changes[0].Scopes[0])
		if !end.Covers(r.Tx) || floor.Covers(r.Tx) || r.At.IsZero() || r.Op != "publish" || r.Table != "" {
			t.Errorf("got %+v", r)
		}
	}
	if want := []string{"first", "second", "third", "fourth"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if records, _ = readAll(t, conn, end); len(records) > 0 {
		t.Errorf("again: %+v", records)
	}
}

func TestGapComesWithoutRecords(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	before := floorOf(t, conn)
	publish(t, conn, "a")
	_, end := readAll(t, conn, before)
	publish(t, conn, "b")
	exec(t, conn, fmt.Sprintf("update pgbell.journal_state set floor = '%d'", end.Xmin))

	other := end
	other.Incarnation = "abc"
	for want, since := range map[Gap]Cursor{GapRetention: before, GapIncarnation: other} {
		now, floor, err := Read(t.Context(), conn, since, func(r *Record) error { return fmt.Errorf("%+v", r) })
		if gap := Gap(""); !errors.As(err, &gap) || gap != want {
			t.Errorf("%v: got %v, want %v", since, err, want)
		}
		if !now.Includes(end) || floor.Xmin != end.Xmin || floor.Incarnation != end.Incarnation {
			t.Errorf("%v: now %v, floor %v", since, now, floor)
		}
	}
	r := &Reader{DB: conn}
	if records, _ := bothRead(t, r, end); len(records) != 1 {
		t.Errorf("the floor itself: got %d records, want 1", len(records))
	}
	for range 2 { // of which the second knows the incarnation
		if _, _, err := r.Read(t.Context(), before, func(r *Record) error { return fmt.Errorf("%+v", r) }); !errors.Is(err, GapRetention) {
			t.Errorf("got %v, want %v", err, GapRetention)
		}
	}
	if floor := floorOf(t, conn); floor.Xmin != end.Xmin || floor.Incarnation != end.Incarnation {
		t.Errorf("floor %v, want that of %v", floor, end)
	}
}

// What is read again and again while a transaction is open: a little at a time, or
// more than one passes over.
func TestNextReadingGivesTheSame(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	conn, other := connect(t, url), connect(t, url)
	r := &Reader{DB: conn}
	end := floorOf(t, conn)
	exec(t, other, "begin")
	publish(t, other, "long")
	for _, n := range []int{1, 3, near, 1, near, 2} {
		exec(t, conn, fmt.Sprintf("do $$ begin for i in 1..%d loop perform pgbell.publish('s' || i); commit; end loop; end $$", n))
		var records []*Record
		if records, end = bothRead(t, r, end); len(records) != n {
			t.Fatalf("got %d records, want %d", len(records), n)
		}
	}
	exec(t, other, "commit")
	if records, _ := bothRead(t, r, end); len(records) != 1 || records[0].Changes[0].Scopes[0] != "long" {
		t.Fatalf("got %+v", records)
	}
}

func TestReadStopsAtTheFirstError(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	floor := floorOf(t, conn)
	publish(t, conn, "a")
	publish(t, conn, "b")
	enough, calls := errors.New("enough"), 0
	_, _, err := Read(t.Context(), conn, floor, func(*Record) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("got %v after %d records", err, calls)
	}
	exec(t, conn, "update pgbell.journal set op = 'merge' where xid::text = (select max(xid::text) from pgbell.journal)")
	if _, _, err = Read(t.Context(), conn, floor, func(*Record) error { return nil }); err == nil || !strings.Contains(err.Error(), "upgrade it") {
		t.Errorf("unknown op: got %v", err)
	}
	exec(t, conn, "delete from pgbell.journal_state")
	if _, _, err = Read(t.Context(), conn, floor, func(*Record) error { return nil }); err == nil || !strings.Contains(err.Error(), "journal_state is empty") {
		t.Errorf("without a state: got %v", err)
	}
}

func TestFloorLeavesOutWhatIsTooMuchToStartWith(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	// Of 300 records each, the first of ten.
	exec(t, conn, "insert into pgbell.journal_0 (xid, op, facts) "+
		"select (10 + (g + 289) / 300)::text::xid8, 'publish', array['{\"scope\":\"a\"}'] from generate_series(1, 100010) g")
	floor := floorOf(t, conn)
	if floor.Xmin != 11 || floor.Xmax != 11 {
		t.Errorf("got %v, want a floor above transaction 10", floor)
	}
	first := true
	n := 0
	_, _, err := Read(t.Context(), conn, floor, func(r *Record) error {
		if n++; first && r.Tx != 11 {
			return fmt.Errorf("the first record is %d", r.Tx)
		}
		first = false
		return nil
	})
	if err != nil || n != 100_000 {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestVolatileFeeds(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	exec(t, conn, `create table a (id int primary key); create table "B b" (id int primary key);
		select pgbell.attach('a', array['a:{id}']);
		select pgbell.attach('"B b"', array['b:{id}', 'all'], durable => false)`)
	got, err := Volatile(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]scope.Template{`public."B b"`: {templateOf(t, "b:{id}"), templateOf(t, "all")}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(scope.Template{})); diff != "" {
		t.Error(diff)
	}
}

// A plan that scans the whole journal would do so once a second, and compile it; one
// for many rows would start processes each time.
func TestReadUsesTheIndexAlone(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	exec(t, conn, "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_index_scan_size = 0; set min_parallel_table_scan_size = 0")
	exec(t, conn, "set enable_seqscan = off; set enable_bitmapscan = off; set max_parallel_workers_per_gather = 0; set jit = off; set plan_cache_mode = force_generic_plan") // as the listener does
	exec(t, conn, "insert into pgbell.journal_0 (xid, op) select g::text::xid8, 'publish' from generate_series(1, 5000) g")
	args := []any{"4990", "5000", []string{"4990", "4995"}, "ab", ""}
	for i, sql := range []string{fmt.Sprintf(nextSQL, "journal"), fmt.Sprintf(nextSQL, "journal_0"), readSQL} {
		rows, err := conn.Query(t.Context(), "explain "+sql, args[:3+i/2*2]...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Gather") || strings.Count(plan, "journal_0_xid") != 1+i/2 {
			t.Error(plan)
		}
	}
}

func templateOf(t testing.TB, text string) scope.Template {
	t.Helper()
	parsed, err := scope.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
