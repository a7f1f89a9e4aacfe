package listener

import (
	"math"
	"time"

	"github.com/pgbell/pgbell/journal"
)

const (
	lease = 30 * time.Second // for which writers are asked to ring; renewed when two thirds are over

	pollLeast = 2 * time.Millisecond   // between two readings, while polling
	pollMost  = 10 * time.Millisecond  // where nothing was found that a subscriber got: a reading is half a millisecond of a lone writer's
	idleMost  = 50 * time.Millisecond  // the same, where writers are never asked to ring
	fenceMost = 100 * time.Millisecond // while transactions go on that may not have been asked
	ringsOnce = 5 * time.Millisecond   // within which one session rings for all: pgbell.ring

	pollAtLeast = time.Second            // once begun
	loadTime    = 250 * time.Millisecond // in which the load decays to a third, roughly
	busy        = 25.0                   // transactions in loadTime: about 100 a second
	calm        = 15.0                   // about 60 a second
	crowd       = 3                      // young transactions at once, if something comes at all
	something   = 5.0                    // about 20 a second
)

// pace decides how a session hears of changes: rung by the writers while it is
// quiet, by reading the journal every few milliseconds while it is busy. So do
// network drivers, with interrupts. A notification makes all sessions that commit in
// the whole cluster wait for each other, flush by flush; being busy shows by the
// number of transactions that came, or by those that queue up to commit.
//
//	load             .--.
//	busy  - - - - - /- - \ - - - - - - - -
//	               /      \       .-.
//	calm  - - - - / - - - -\- - -/- -\- - -
//	      _______/          \___/     \____
//	      rung     | polled  | rung
//
// The load that begins the polling is not the one that ends it, and it lasts a second
// at least: each change of mind costs a write.
//
// Where one writer rang, others don't for 5 ms, and commit in silence a moment later. So
// the session reads again then, and again whenever as much time has passed as since the
// ring before: who commits late is heard not much later.
//
// Nothing but latency depends on it: a session reads at least once a tick.
type pace struct {
	never bool // writers are never asked to ring

	load    float64 // transactions that came, the older the less they count
	at      time.Time
	took    time.Duration // of the last reading, with what followed
	heard   bool          // it found something that a subscriber got
	crowded int           // readings in a row that found a crowd
	polling time.Time     // since when; zero: the writers are to ring
	gap     time.Duration

	old, older journal.Cursor // of up to a half and a whole second ago
	turn       time.Time

	rang time.Time // a writer, last

	// Transactions below fence may have begun before the writers were asked to ring.
	// 0: they are over.
	fence uint64
}

// read notes what a reading found, at now: so many transactions, up to end, and whether
// a subscriber got something of them.
func (p *pace) read(now time.Time, transactions int, heard bool, end journal.Cursor, took time.Duration) {
	p.load *= math.Exp(-now.Sub(p.at).Seconds() / loadTime.Seconds())
	p.load += float64(transactions)
	p.at, p.took, p.heard = now, took, heard

	young := 0
	if p.older.Incarnation == end.Incarnation {
		for _, tx := range end.Xip {
			if tx >= p.older.Xmax {
				young++
			}
		}
	}
	if p.crowded++; young < crowd || p.load < something {
		p.crowded = 0
	}
	if now.Sub(p.turn) > 2*loadTime {
		p.old, p.older, p.turn = end, p.old, now
	}
	if p.fence > 0 && end.Xmin >= p.fence {
		p.fence = 0
	}

	switch rush := p.load > busy || p.crowded >= 3; {
	case p.polling.IsZero() && rush:
		p.polling = now
	case !p.polling.IsZero() && !rush && p.load < calm && now.Sub(p.polling) > pollAtLeast:
		p.polling = time.Time{}
	}
}

// ring says whether the writers are to ring.
func (p *pace) ring() bool { return !p.never && p.polling.IsZero() }

// wait returns how long to wait for a notification before the next reading, at most
// tick.
func (p *pace) wait(tick time.Duration) time.Duration {
	most := tick
	switch {
	case p.never:
		most = min(most, idleMost)
	case !p.ring():
		most = min(most, pollMost)
	case p.fence > 0:
		most = min(most, fenceMost)
	default:
		p.gap = 0
		if since := p.at.Sub(p.rang); since < tick {
			return min(tick, max(since, ringsOnce))
		}
		return tick
	}
	p.gap += p.gap / 2
	if p.heard {
		p.gap = 0
	}
	// Not reading more than a quarter of the time.
	p.gap = min(max(p.gap, pollLeast, 3*p.took), most)
	return p.gap
}
