package journal

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
)

// world is a database in which transactions come and go, and a Tail that follows it.
type world struct {
	next    uint64    // transaction
	running []uint64  // ascending
	written []*Record // by all transactions, in the order of seq
	aborted map[uint64]bool
	read    Cursor // by the tail's reader
	emitted []*Record
	tail    Tail
}

// now is the cursor of what is committed.
func (w *world) now() Cursor {
	c := Cursor{Incarnation: "ab", Xmin: w.next, Xmax: w.next, Xip: slices.Clone(w.running)}
	if len(c.Xip) > 0 {
		c.Xmin = c.Xip[0]
	}
	return c
}

// between returns the committed records that since doesn't cover and end does.
func (w *world) between(since, end Cursor) (found []*Record) {
	for _, r := range w.written {
		if !since.Covers(r.Tx) && end.Covers(r.Tx) && !w.aborted[r.Tx] {
			found = append(found, r)
		}
	}
	return found
}

func (w *world) write(tx uint64) {
	w.written = append(w.written, &Record{
		LSN: uint64(len(w.written) + 1), Tx: tx, Op: bus.OpInsert, Changes: []Change{{Side: Side{Scopes: []string{"a"}}}},
	})
}

func (w *world) readOn() {
	end := w.now()
	batch := w.between(w.read, end)
	w.tail.Add(batch, end, Cursor{"ab", 1, 1, nil})
	w.emitted = append(w.emitted, batch...)
	w.read = end
}

// step does one thing, at random.
func (w *world) step(t *rapid.T) {
	pick := func() int { return rapid.IntRange(0, len(w.running)-1).Draw(t, "which") }
	switch what := rapid.IntRange(0, 9).Draw(t, "step"); {
	case what < 3 || len(w.running) == 0:
		w.running = append(w.running, w.next)
		w.next++
	case what < 6:
		w.write(w.running[pick()])
	case what < 9:
		i := pick()
		w.aborted[w.running[i]] = rapid.IntRange(0, 5).Draw(t, "abort") == 0
		w.running = slices.Delete(w.running, i, i+1)
	default:
		w.readOn()
	}
}

func seqs(records []*Record) []uint64 {
	var all []uint64
	for _, r := range records {
		all = append(all, r.LSN)
	}
	return all
}

// kept are the records of a replay that are part of it.
func (p *Replay) kept() (kept []*Record) {
	for _, r := range p.Records {
		if !p.Since.Covers(r.Tx) {
			kept = append(kept, r)
		}
	}
	return kept
}

// sizeOfOne is what a record of write counts.
var sizeOfOne = (&Record{Changes: make([]Change, 1)}).Size()

func TestTailGivesExactlyWhatACursorMissed(t *testing.T) {
	one := sizeOfOne
	served, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := &world{next: 1, aborted: map[uint64]bool{}}
		w.tail.Limit = one * rapid.SampledFrom([]int{3, 10, 1000}).Draw(t, "limit")
		cursors := []Cursor{w.now()}
		for range rapid.IntRange(0, 15).Draw(t, "before") {
			w.step(t)
			cursors = append(cursors, w.now())
		}

		// It starts at some transaction, and perhaps without the oldest of what came then.
		floor := rapid.Uint64Range(1, w.next).Draw(t, "floor")
		from := Cursor{Incarnation: "ab", Xmin: floor, Xmax: floor}
		w.read = w.now()
		recent, shed := w.between(from, w.read), uint64(0)
		for range rapid.IntRange(0, min(2, len(recent))).Draw(t, "shed") {
			shed = max(shed, recent[0].Tx)
			recent = recent[1:]
		}
		w.tail.Start(from, shed)
		if w.tail.Since(w.read) != nil {
			t.Error("served before anything was added")
		}
		w.tail.Add(recent, w.read, Cursor{"ab", 1, 1, nil})
		w.emitted = slices.Clone(recent) // in the order of this reading, whatever was read before

		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			w.step(t)
			cursors = append(cursors, w.now())
		}
		if w.tail.size > w.tail.Limit || len(w.tail.records)*one != w.tail.size {
			t.Errorf("%d records, counted as %d bytes, the limit is %d", len(w.tail.records), w.tail.size, w.tail.Limit)
		}
		for _, since := range cursors {
			got := w.tail.Since(since)
			if got == nil {
				if since.Includes(w.tail.from) && since.Xmin > w.tail.shed {
					t.Errorf("%v was refused, though the tail goes back to %v", since, w.tail.from)
				}
				refused++
				continue
			}
			served++
			if got.Reset != "" || got.End.text() != w.read.text() {
				t.Errorf("%v: reset %q, end %v, want %v", since, got.Reset, got.End, w.read)
			}
			// In the order of reading, which for one row is that of committing.
			want := w.between(since, w.read)
			slices.SortStableFunc(want, func(a, b *Record) int {
				return slices.Index(seqs(w.emitted), a.LSN) - slices.Index(seqs(w.emitted), b.LSN)
			})
			if got := seqs(got.kept()); !slices.Equal(got, seqs(want)) {
				t.Errorf("%v to %v: got %v, want %v", since, w.read, got, seqs(want))
			}
		}
	})
	if served == 0 || refused == 0 {
		t.Errorf("%d served, %d refused: the test shows nothing", served, refused)
	}
}

func follow(limit int) *world {
	w := &world{next: 1, aborted: map[uint64]bool{}, tail: Tail{Limit: limit}}
	w.read = w.now()
	w.tail.Start(w.read, 0)
	w.readOn()
	return w
}

func TestReplayIsUntouchedByWhatFollows(t *testing.T) {
	w := follow(10 * sizeOfOne)
	since := w.now()
	for range 10 {
		w.next++
		w.write(w.next - 1)
		w.readOn()
	}
	got := w.tail.Since(since)
	before := seqs(got.Records)
	for range 100 {
		w.next++
		w.write(w.next - 1)
		w.readOn()
	}
	if len(before) != 10 || !slices.Equal(seqs(got.Records), before) {
		t.Errorf("got %v, was %v", seqs(got.Records), before)
	}
	if w.tail.Since(since) != nil {
		t.Error("served what was shed")
	}
	if c := cap(w.tail.records); c > 100 {
		t.Errorf("10 records in room for %d", c)
	}
}

func TestTailTellsAGapWithoutTheDatabase(t *testing.T) {
	w := follow(0)
	w.next = 100
	w.tail.Add(nil, w.now(), Cursor{"ab", 50, 50, nil})
	for text, want := range map[string]string{
		"ab-50:50:":   "",
		"ab-90:99:90": "",
		"ab-49:99:49": string(GapRetention),
		"cd-90:90:":   string(GapIncarnation),
	} {
		since, err := ParseCursor(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.tail.Since(since); got == nil || got.Reset != want {
			t.Errorf("%s: got %+v, want reset %q", text, got, want)
		}
	}
	var idle Tail
	if idle.Since(w.read) != nil {
		t.Error("the zero tail serves")
	}
}

func TestCursorFromTheFutureMissedNothing(t *testing.T) {
	w := follow(0)
	w.write(1)
	w.next++
	w.readOn()
	since := Cursor{Incarnation: "ab", Xmin: math.MaxInt64, Xmax: math.MaxInt64}
	if got := w.tail.Since(since); got == nil || len(slices.Collect(got.Events([]string{"a"}, everything))) > 0 || got.End.text() != w.read.text() {
		t.Errorf("got %+v", got)
	}
}

func TestOneRecordOverTheLimitIsNotKept(t *testing.T) {
	w := follow(10_000)
	since := w.now()
	r := Record{Tx: 1, Changes: make([]Change, 1)}
	if err := r.decode(definitions(t), "insert", 1, array("1", "7", null, null, `"`+strings.Repeat("x", 10_000)+`"`)); err != nil {
		t.Fatal(err)
	}
	w.next++
	w.tail.Add([]*Record{&r}, w.now(), since)
	if w.tail.size != 0 || w.tail.Since(since) != nil {
		t.Errorf("kept %d bytes", w.tail.size)
	}
	if got := w.tail.Since(w.now()); got == nil || len(got.Records) > 0 {
		t.Errorf("after it: got %+v", got)
	}
}

func everything(bus.Audience) bool { return true }
