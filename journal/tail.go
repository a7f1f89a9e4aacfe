package journal

import (
	"sort"
	"sync"
)

// MaxTail is how much a [Tail] keeps, in bytes as [Record.Size] counts them.
const MaxTail = 64 << 20

// Tail holds the newest records of the journal in memory. The listener adds each
// batch that it read; resuming clients are served from it without a query and
// without a copy. All methods may be called from any goroutine. The zero value
// holds nothing and serves nobody.
type Tail struct {
	Limit int // of bytes; 0 means MaxTail. Not to be changed once in use

	mu      sync.RWMutex
	records []*Record // oldest first; replays share them: appended to, cut in front, never written again
	batches []batch
	cut     int    // records that were cut in front since Start
	from    Cursor // all that it doesn't cover is in records, but for what was shed
	shed    uint64 // highest transaction of a cut record that from doesn't cover
	end     Cursor // zero until the first Add
	floor   Cursor
	size    int
}

// batch is what one reading of the journal gave.
type batch struct {
	end  Cursor
	upto int // records since Start, up to its last
}

// Start forgets all and begins anew at cursor: what is added next is all that it
// doesn't cover, but for records of transactions up to shed. Until then the Tail
// serves nobody.
func (t *Tail) Start(cursor Cursor, shed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records, t.batches, t.cut, t.size = nil, nil, 0, 0
	t.from, t.shed, t.end, t.floor = cursor, shed, Cursor{}, Cursor{}
}

// Add appends what [Read] gave since the last end, and sets its positions. A batch
// must be added before any of its events is emitted: then whoever subscribes first
// and asks the Tail afterwards misses nothing.
func (t *Tail) Add(records []*Record, end, floor Cursor) {
	SetPositions(records, end)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end, t.floor = end, floor
	if len(records) == 0 {
		return
	}
	for _, r := range records {
		r = r.packed()
		t.records = append(t.records, r)
		t.size += r.Size()
	}
	t.batches = append(t.batches, batch{end, t.cut + len(t.records)})
	limit := t.Limit
	if limit == 0 {
		limit = MaxTail
	}
	for t.size > limit {
		r := t.records[0]
		t.records = t.records[1:] // what append leaves behind when it next grows
		t.cut++
		t.size -= r.Size()
		t.shed = max(t.shed, r.Tx)
		if t.cut == t.batches[0].upto {
			t.from, t.shed = t.batches[0].end, 0
			t.batches = t.batches[1:]
		}
	}
}

// Since returns what happened after since, or nil if the Tail doesn't reach back
// that far, so that the journal must be asked.
func (t *Tail) Since(since Cursor) *Replay {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.end.IsZero() {
		return nil
	}
	if gap := since.gap(t.floor); gap != "" {
		return &Replay{Since: since, Reset: string(gap)}
	}
	if !since.Includes(t.from) || since.Xmin <= t.shed {
		return nil
	}
	// Each batch's end includes the one before, so that those behind since come first.
	first := sort.Search(len(t.batches), func(i int) bool { return !since.Includes(t.batches[i].end) })
	start := 0
	if first > 0 {
		start = t.batches[first-1].upto - t.cut
	}
	return &Replay{Since: since, Records: t.records[start:len(t.records):len(t.records)], End: t.end}
}
