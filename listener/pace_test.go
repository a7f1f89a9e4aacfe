package listener

import (
	"testing"
	"time"

	"github.com/pgbell/pgbell/journal"
)

// readings feeds p with transactions at a rate for a while, read whenever p wants
// to, or at once when one rings.
func (p *pace) readings(now *time.Time, rate float64, d time.Duration, running ...uint64) {
	xmax := p.old.Xmax + 1000
	owed := 0.0
	for end := now.Add(d); now.Before(end); {
		wait := p.wait(time.Second)
		if p.ring() && rate > 0 {
			wait = min(wait, time.Duration(float64(time.Second)/rate))
		}
		*now = now.Add(wait)
		owed += rate * wait.Seconds()
		c := journal.Cursor{Incarnation: "ab", Xmin: xmax, Xmax: xmax, Xip: running}
		if len(running) > 0 {
			c.Xmin = running[0]
		}
		p.read(*now, int(owed), owed >= 1, c, 0)
		owed -= float64(int(owed))
	}
}

func TestPaceFollowsTheLoad(t *testing.T) {
	now := time.Now()
	var p pace
	for _, step := range []struct {
		rate float64
		d    time.Duration
		ring bool
	}{
		{0, time.Second, true},
		{50, 10 * time.Second, true},
		{200, time.Second, false},
		{5000, time.Minute, false},
		{80, 5 * time.Second, false}, // no change of mind in between
		{50, 5 * time.Second, true},
		{80, 5 * time.Second, true},
		{1000, 100 * time.Millisecond, false},
		{0, 500 * time.Millisecond, false}, // not so soon
		{0, time.Second, true},
	} {
		p.readings(&now, step.rate, step.d)
		if p.ring() != step.ring {
			t.Errorf("after %v of %v a second: ring is %v", step.d, step.rate, p.ring())
		}
	}
}

// Writers that wait for each other are seen by their number, however slow they are.
func TestPaceSeesAQueueOfWriters(t *testing.T) {
	for _, test := range []struct {
		name    string
		rate    float64
		running func(xmax uint64) []uint64
		ring    bool
	}{
		{"sixteen young ones", 30, func(x uint64) []uint64 { return []uint64{x - 3, x - 2, x - 1} }, false},
		{"two young ones", 30, func(x uint64) []uint64 { return []uint64{x - 2, x - 1} }, true},
		{"three old ones", 30, func(uint64) []uint64 { return []uint64{1, 2, 3} }, true},
		{"hardly anything comes", 5, func(x uint64) []uint64 { return []uint64{x - 3, x - 2, x - 1} }, true},
	} {
		var p pace
		now, polled := time.Now(), false
		for i := range uint64(100) {
			xmax := 1000 + 100*i
			now = now.Add(time.Duration(float64(time.Second) / test.rate))
			p.read(now, 1, true, journal.Cursor{Incarnation: "ab", Xmin: 1, Xmax: xmax, Xip: test.running(xmax)}, 0)
			polled = polled || !p.ring()
		}
		if polled == test.ring {
			t.Errorf("%s: polled is %v", test.name, polled)
		}
	}
}

func TestPaceReadsOnUntilOldTransactionsAreOver(t *testing.T) {
	now := time.Now()
	p := pace{fence: 500}
	read := func(xmin uint64) time.Duration {
		now = now.Add(time.Second)
		p.read(now, 0, false, journal.Cursor{Incarnation: "ab", Xmin: xmin, Xmax: 600, Xip: []uint64{xmin}}, 0)
		return p.wait(time.Minute)
	}
	before := time.Duration(0)
	for range 20 {
		if got := read(499); got < before || got > fenceMost {
			t.Fatalf("waits %v after %v", got, before)
		} else {
			before = got
		}
	}
	if before != fenceMost {
		t.Errorf("waits %v at last, want %v", before, fenceMost)
	}
	if got := read(500); got != time.Minute {
		t.Errorf("waits %v once they are over", got)
	}
}

// A writer that found another to have rung just now commits in silence, however late.
func TestPaceReadsOnForWritersThatDidNotRing(t *testing.T) {
	rang := time.Now()
	p := pace{rang: rang}
	now, readings := rang, 0
	for wait := time.Millisecond; wait < time.Second; readings++ {
		now = now.Add(wait)
		p.read(now, 1, true, journal.Cursor{Incarnation: "ab", Xmin: 9, Xmax: 9}, time.Millisecond)
		since := now.Sub(rang)
		if wait = p.wait(time.Second); wait > max(ringsOnce, since) && since < time.Second {
			t.Errorf("waits %v when as much as %v has passed", wait, since)
		}
	}
	if readings > 12 {
		t.Errorf("%d readings for a ring", readings)
	}
}

func TestPaceOfOneThatIsNeverRung(t *testing.T) {
	now := time.Now()
	p := pace{never: true}
	p.readings(&now, 0, 10*time.Second)
	if got := p.wait(time.Second); got != idleMost || p.ring() {
		t.Errorf("waits %v, ring %v", got, p.ring())
	}
	p.read(now, 1, true, journal.Cursor{Incarnation: "ab", Xmin: 9, Xmax: 9}, 0)
	if got := p.wait(time.Second); got != pollLeast {
		t.Errorf("waits %v after something came", got)
	}
	if got := p.wait(time.Millisecond); got != time.Millisecond {
		t.Errorf("waits %v, longer than a tick", got)
	}
}

// However long a reading takes, up to a few milliseconds, Postgres has three times as long a rest.
func TestPaceLeavesPostgresARest(t *testing.T) {
	p := pace{polling: time.Now()}
	p.read(time.Now(), 1000, true, journal.Cursor{Incarnation: "ab", Xmin: 9, Xmax: 9}, 2*time.Millisecond)
	if got := p.wait(time.Second); got != 6*time.Millisecond {
		t.Errorf("waits %v", got)
	}
	p.read(time.Now(), 1000, true, journal.Cursor{Incarnation: "ab", Xmin: 9, Xmax: 9}, time.Second)
	if got := p.wait(time.Second); got != pollMost {
		t.Errorf("waits %v, which nobody would want", got)
	}
}

// What no subscriber gets is read seldom, and at once often again when one does.
func TestPaceTakesItsTimeWhileNobodyHears(t *testing.T) {
	now := time.Now()
	p := pace{polling: now}
	read := func(heard bool) time.Duration {
		now = now.Add(pollLeast)
		p.read(now, 100, heard, journal.Cursor{Incarnation: "ab", Xmin: 9, Xmax: 9}, 0)
		return p.wait(time.Second)
	}
	if got := read(true); got != pollLeast {
		t.Errorf("waits %v while somebody hears", got)
	}
	for range 10 {
		read(false)
	}
	if got := read(false); got != pollMost || p.ring() {
		t.Errorf("waits %v while nobody does, ring is %v", got, p.ring())
	}
	if got := read(true); got != pollLeast {
		t.Errorf("waits %v once somebody does", got)
	}
}
