package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtest"
)

// Whatever the rotation does between two readings, and whoever's transaction goes on
// meanwhile, who reads again and again gets what one reading from the same cursor gives.
func TestNextReadingsGiveAllWhateverTheRotationDoes(t *testing.T) {
	const steps, writers = 1500, 4
	url := pgtest.Migrated.Database(t)
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	conn, rotor := connect(t, url), connect(t, url)
	r := &Reader{DB: conn}
	var open [writers]*pgx.Conn
	var begun [writers]bool
	for i := range open {
		open[i] = connect(t, url)
	}
	ends := []Cursor{floorOf(t, conn)}
	seen := map[string]int{} // readings by what they asked
	gaps := 0
	for i := range steps {
		switch w := rnd.IntN(writers); rnd.IntN(10) {
		case 0, 1, 2:
			exec(t, rotor, "select pgbell.rotate('0')")
		case 3:
			exec(t, rotor, "begin; select pgbell.rotate('0'); rollback")
		case 4:
			if begun[w] {
				exec(t, open[w], []string{"commit", "rollback"}[rnd.IntN(2)])
				begun[w] = false
			} else if rnd.IntN(3) == 0 {
				exec(t, open[w], "begin")
				begun[w] = true
			}
		default:
			publish(t, open[w], fmt.Sprint("s", i))
		}
		if rnd.IntN(2) == 0 {
			continue
		}
		end := ends[len(ends)-1]
		if rnd.IntN(20) == 0 {
			end = ends[max(0, len(ends)-1-rnd.IntN(10))]
		}
		var want, got []*Record
		_, wantFloor, wantErr := Read(t.Context(), conn, end, func(r *Record) error { want = append(want, r); return nil })
		source := r.next.source
		now, floor, err := r.Read(t.Context(), end, func(r *Record) error { got = append(got, r); return nil })
		if !errors.Is(err, wantErr) {
			t.Fatalf("step %d: got %v, want %v", i, err, wantErr)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Record{}, filter{})); diff != "" {
			t.Fatalf("step %d, since %v, from %q (-want +got):\n%s", i, end, source, diff)
		}
		if !now.Includes(end) || floor.String() != wantFloor.String() {
			t.Fatalf("step %d, from %q: from %v to %v, floor %v, want %v", i, source, end, now, floor, wantFloor)
		}
		if err != nil {
			gaps++
		}
		if source == r.next.source {
			seen[source]++
		}
		ends = append(ends, now)
	}
	t.Log(seen, gaps, "gaps")
	for _, source := range []string{"journal", "journal_0", "journal_1"} {
		if seen[source] == 0 {
			t.Errorf("nothing was read from %s: %v", source, seen)
		}
	}
}

// A writer that looked up which table is written and then had to wait may come late: the
// other table doesn't rest while its transaction goes on, even one that did nothing yet.
func TestNextReadingGivesWhatCameLateToTheOtherTable(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	conn, late, holder := connect(t, url), connect(t, url), connect(t, url)
	r := &Reader{DB: conn}
	_, end := bothRead(t, r, floorOf(t, conn))
	publish(t, conn, "first") // so that a switch is due
	_, end = bothRead(t, r, end)

	exec(t, holder, "begin; lock table pgbell.journal_0 in share mode")
	published := make(chan error, 1)
	go func() {
		_, err := late.Exec(t.Context(), "select pgbell.publish('late')")
		published <- err
	}()
	waitFor(t, conn, "select exists (select from pg_locks where not granted and relation = 'pgbell.journal_0'::regclass)")
	var steps []string
	for range 3 {
		var step string
		if err := conn.QueryRow(t.Context(), "select pgbell.rotate('0')").Scan(&step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if want := "switched, waiting for transactions, waiting for transactions"; strings.Join(steps, ", ") != want {
		t.Errorf("rotated: %v, want %s", steps, want)
	}
	_, end = bothRead(t, r, end)
	exec(t, holder, "commit")
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if records, _ := bothRead(t, r, end); len(records) != 1 || records[0].Changes[0].Scopes[0] != "late" {
		t.Errorf("got %+v", records)
	}
}

func waitFor(t *testing.T, conn *pgx.Conn, question string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Millisecond) {
		var yes bool
		if err := conn.QueryRow(t.Context(), question).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", question)
		}
	}
}

// A role that may read the journal alone, and not ask which of its tables is written,
// reads all of it, if not as fast.
func TestReadWithoutTheRightToReadNext(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	conn, other := connect(t, url), connect(t, url)
	role := fmt.Sprintf("reader_%d", rand.Uint64())
	exec(t, other, fmt.Sprintf("create role %s; grant usage on schema pgbell to %[1]s; grant select on pgbell.journal, pgbell.journal_state, pgbell.definition to %[1]s; grant execute on function pgbell.schema_version(), pgbell.utf8(text), pgbell.utf8(text[]) to %[1]s", role))
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err == nil {
			_, err = conn.Exec(context.Background(), fmt.Sprintf("drop owned by %s; drop role %[1]s", role))
			conn.Close(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
	rights := []string{"pgbell.rotation", "pgbell.gate", "pgbell.journal_0", "pgbell.journal_1"}
	for i := range len(rights) + 1 {
		exec(t, conn, "set role "+role)
		r := &Reader{DB: conn}
		_, end := bothRead(t, r, floorOf(t, conn))
		publish(t, other, "a")
		if records, _ := bothRead(t, r, end); len(records) != 1 || (r.next.source != "") != (i == len(rights)) {
			t.Errorf("with %v: got %d records, then from %q", rights[:i], len(records), r.next.source)
		}
		exec(t, conn, "reset role")
		if i < len(rights) {
			exec(t, other, fmt.Sprintf("grant select on %s to %s", rights[i], role))
		}
	}
}

// A crash moves the sequence of steps on, as does a step that was rolled back: no step is
// under way, and after the next call of rotate readings are as cheap as before.
func TestNextReadingComesBackAfterACrash(t *testing.T) {
	server := pgtest.OwnServer(t, nil)
	if err := pgtest.Migrate(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, server.URL())
	r := &Reader{DB: conn}
	rotate := func(retention string, want ...string) {
		t.Helper()
		var step string
		if err := conn.QueryRow(t.Context(), "select pgbell.rotate($1::text::interval)", retention).Scan(&step); err != nil || !slices.Contains(want, step) {
			t.Fatalf("rotate: got %s, %v, want one of %v", step, err, want)
		}
	}
	read := func(fast bool) {
		t.Helper()
		_, end := bothRead(t, r, floorOf(t, conn))
		if got := r.next.may(end); got != fast {
			t.Fatalf("the next reading is a fast one: %t, want %t", got, fast)
		}
		publish(t, conn, "a")
		if records, _ := bothRead(t, r, end); len(records) != 1 || r.next.may(end) != fast {
			t.Fatalf("got %d records, then a fast reading: %t, want %t", len(records), r.next.may(end), fast)
		}
	}
	publish(t, conn, "a")
	exec(t, conn, "checkpoint") // the next step is written to the WAL, then, and with it the 32 that follow
	rotate("0", "switched")
	rotate("0", "waiting for transactions")
	rotate("0", "resting")
	read(true)
	server.StopImmediate()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn = connect(t, server.URL())
	r = &Reader{DB: conn}
	exec(t, conn, "select pgbell.mark_incarnation()")
	read(false)
	rotate("1 hour", "resting")
	read(true)

	exec(t, conn, "begin; select pgbell.rotate('0'); rollback")
	read(false)
	rotate("1 hour", "resting")
	read(true)
}
