package journal

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
)

// TestReplayFiltersAsTheBusDoes holds Replay.Events against the events of all
// records, filtered afterwards.
func TestReplayFiltersAsTheBusDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Replay{Since: cursorOf(t, drawSet(t, "since"))}
		for seq := range rapid.IntRange(0, 6).Draw(t, "records") {
			r := Record{LSN: uint64(seq), Tx: rapid.Uint64Range(1, horizon-1).Draw(t, "tx"), Op: bus.OpUpdate, Table: "public.t"}
			if rapid.IntRange(0, 3).Draw(t, "reset") == 0 {
				templates, err := scope.ParseAll(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "{x}"}), 0, 2).Draw(t, "templates"))
				if err != nil {
					t.Fatal(err)
				}
				r.Op, r.Reset = bus.OpReset, &Reset{templates, "truncate"}
			}
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				if c := (Change{Side: drawSide(t, false)}); r.Reset == nil {
					if rapid.Bool().Draw(t, "moved") {
						old := drawSide(t, false)
						c.Old = &old
					}
					r.Changes = append(r.Changes, c)
				}
			}
			p.Records = append(p.Records, &r)
		}
		wanted := rapid.SliceOfNDistinct(rapid.SampledFrom(scopes), 1, 3, rapid.ID).Draw(t, "wanted")
		user := rapid.SampledFrom(users).Draw(t, "user")
		allow := func(a bus.Audience) bool { return a.Allows(user) }

		var want []bus.ChangeEvent
		for _, r := range p.Records {
			if p.Since.Covers(r.Tx) {
				continue
			}
			for _, e := range r.Events() {
				if slices.Contains(wanted, e.Scope) && allow(e.Audience) {
					want = append(want, e)
				}
			}
			for _, scope := range wanted {
				if r.Reset != nil && r.Reset.Matches(scope) {
					want = append(want, bus.ChangeEvent{Scope: scope, Op: bus.OpReset, Table: "public.t", Reason: "truncate", Tx: r.Tx})
				}
			}
		}
		if diff := cmp.Diff(want, slices.Collect(p.Events(wanted, allow))); diff != "" {
			t.Error(diff)
		}
	})
}

// example is a record as one insert makes it.
func example(defs *Definitions, i int) Record {
	r := Record{LSN: uint64(i), Tx: uint64(i), Table: "public.tasks"}
	facts := array(fmt.Sprint(i), fmt.Sprint(i%100), fmt.Sprint("user", i%7), fmt.Sprintf(`["user%d"]`, i%11), "1")
	if err := r.decode(defs, "insert", 1, facts); err != nil {
		panic(err)
	}
	return r
}

func TestSizeIsAboutTheMemoryUsed(t *testing.T) {
	defs := definitions(t)
	heap := func() uint64 {
		for range 3 { // pools are emptied by the second, and what finalizers held by the third
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	measure := func() (used, said int) {
		before := heap()
		records := make([]Record, 20_000)
		for i := range records {
			records[i] = example(defs, i+1)
			said += records[i].Size()
		}
		used = int(heap() - before)
		runtime.KeepAlive(records)
		return used, said
	}
	for try := 1; ; try++ {
		used, said := measure()
		switch {
		case used <= said && used >= said/3:
			return
		case try == 3: // once, what tests before left may have been freed meanwhile
			t.Fatalf("%d bytes used, %d said", used, said)
		}
	}
}

// BenchmarkReplay is one client that comes back after 50,000 changes, of which 500
// concern it.
func BenchmarkReplay(b *testing.B) {
	defs := definitions(b)
	var tail Tail
	start := Cursor{"ab", 1, 1, nil}
	tail.Start(start, 0)
	for i := 1; i <= 50_000; i++ {
		tail.Add([]*Record{new(example(defs, i))}, Cursor{"ab", uint64(i + 1), uint64(i + 1), nil}, start)
	}
	b.ReportAllocs()
	for b.Loop() {
		events := slices.Collect(tail.Since(start).Events([]string{"project:7", "other"}, everything))
		if len(events) != 500 {
			b.Fatalf("got %d events", len(events))
		}
	}
}
