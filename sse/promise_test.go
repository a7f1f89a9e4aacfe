package sse

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// history is a listener: it has all records there were, in memory.
type history struct {
	t       *testing.T
	w       *world
	mu      sync.Mutex
	records []*journal.Record
	next    uint64 // the next transaction's id
	oldest  uint64 // below that it can't replay
}

// batch makes n random changes known and emits them.
func (h *history) batch(rng *rand.Rand, n int) {
	audiences := []bus.Audience{{}, bus.Only("alice"), bus.Only("bob"), bus.Only("alice", "bob"), bus.Only()}
	scopes := [][]string{{"a"}, {"b"}, {"a", "b"}, {"c"}}
	var batch []*journal.Record
	h.mu.Lock()
	for range n {
		r := record(h.next, audiences[rng.IntN(len(audiences))], scopes[rng.IntN(len(scopes))]...)
		r.At = time.UnixMilli(int64(h.next)) // tells a frame that stands for several from others
		batch = append(batch, r)
		h.next++
	}
	h.records = append(h.records, batch...)
	if rng.IntN(20) == 0 {
		h.oldest = h.next - min(h.next, 100)
	}
	end := cursor(h.next)
	h.mu.Unlock()
	for _, r := range batch {
		h.w.emit(r)
	}
	h.w.bus.Advance(end)
}

func (h *history) replay(_ context.Context, since journal.Cursor) (*journal.Replay, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if since.Xmin < h.oldest {
		return &journal.Replay{Reset: "too old"}, nil
	}
	r := &journal.Replay{End: parse(h.t, cursor(h.next))}
	for _, record := range h.records {
		if !since.Covers(record.Tx) {
			r.Records = append(r.Records, record)
		}
	}
	return r, nil
}

// checker knows what one user has been told, over all the user's streams.
type checker struct {
	user    string
	h       *history
	from    uint64                     // the first ready's position
	told    map[string]map[uint64]bool // by scope
	reset   map[string]uint64          // by scope: all below is forgiven
	query   string
	repeats int
	merged  int // frames that stood for several events
	proved  int // of the history's records: as many, from the first on, were covered and held against the rule
}

// check takes note of it and holds it against what the user may see and what the
// id claims. stream holds what this connection was told.
func (c *checker) check(it item, stream map[string]bool) error {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if it.kind == event && it.name != "ready" {
		var data struct {
			Op        bus.Op
			Key       uint64
			At        time.Time
			Coalesced int
		}
		if err := json.Unmarshal([]byte(it.data), &data); err != nil {
			return err
		}
		if data.Op == bus.OpReset {
			c.reset[it.name] = c.h.next
		} else if data.Coalesced > 0 {
			c.merged++
			c.reset[it.name] = max(c.reset[it.name], uint64(data.At.UnixMilli())+1)
			if data.Key != 0 {
				return fmt.Errorf("%v stands for changes of several rows", it)
			}
		} else if err := c.note(it.name, data.Key, stream); err != nil {
			return err
		}
	}
	if it.id == "" {
		return nil
	}
	claim, err := journal.ParseCursor(it.id)
	if err != nil {
		return err
	}
	if c.from == 0 {
		c.from = claim.Xmax
	}
	for _, r := range c.h.records[c.proved:] {
		if r.Tx < c.from || !claim.Covers(r.Tx) || !r.Changes[0].Audience.Allows(c.user) {
			continue
		}
		for _, scope := range r.Changes[0].Scopes {
			if told, listens := c.told[scope]; listens && !told[r.Tx] && r.Tx >= c.reset[scope] {
				return fmt.Errorf("%q holds id %s, but was not told of %d in %s", c.user, it.id, r.Tx, scope)
			}
		}
	}
	// What was told stays told.
	c.proved = max(c.proved, min(len(c.h.records), int(claim.Xmin)-1))
	return nil
}

// note takes note of one change.
func (c *checker) note(scope string, tx uint64, stream map[string]bool) error {
	audience := c.h.records[tx-1].Changes[0].Audience
	if !audience.Allows(c.user) {
		return fmt.Errorf("%q was told of %d, which is for %q", c.user, tx, audience.Users())
	}
	key := fmt.Sprint(scope, tx)
	if stream[key] {
		return fmt.Errorf("%d came twice on one stream", tx)
	}
	stream[key] = true
	if c.told[scope][tx] {
		c.repeats++
	}
	c.told[scope][tx] = true
	return nil
}

// run reads a and b, in streams that end at random, until the user's last id is
// what last returns.
func (c *checker) run(rng *rand.Rand, last func() string) error {
	for lastID := ""; lastID == "" || lastID != last(); {
		if err := c.stream(rng, &lastID, last); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) stream(rng *rand.Rand, lastID *string, last func() string) error {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.h.w.url+"/events?scope=a&scope=b"+c.query, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Who", c.user)
	if *lastID != "" {
		req.Header.Set("Last-Event-ID", *lastID)
	}
	resp, err := c.h.w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	p := newParser(resp.Body)
	told := make(map[string]bool)
	reads := rng.IntN(200)
	if rng.IntN(5) == 0 { // a replay gives no newer id before its end
		reads = 2000
	}
	for range reads {
		it, err := p.next()
		if err != nil {
			return err
		}
		if err := c.check(it, told); err != nil {
			return err
		}
		if it.id != "" {
			*lastID = it.id
		}
		if *lastID == last() {
			break
		}
		if rng.IntN(20) == 0 { // lets the queue fill
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		}
	}
	return nil
}

// Users whose streams break at random, who read slowly and whose queues overflow
// are told all that they may see, or are reset; they are told nothing else; and no
// id that they hold ever covers what they were not told.
func TestPromisesHoldOverRandomStreams(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(2) {
		promises := func(t *testing.T, serve func(*testing.T, settings) *world, heartbeat time.Duration) {
			h := &history{t: t, next: 1}
			h.w = serve(t, settings{queue: 40, Config: Config{
				Heartbeat: heartbeat,
				Replay:    h.replay,
				MaxReplay: 500,
				Authenticate: func(r *http.Request) (Identity, error) {
					return Identity{UserID: r.Header.Get("Who")}, nil
				},
			}})
			var last atomic.Value
			last.Store("not yet")
			var readers sync.WaitGroup
			var checkers []*checker
			for i, user := range []string{"alice", "bob", "eve", "", "alice", "bob"} {
				c := &checker{user: user, h: h, reset: map[string]uint64{}, told: map[string]map[uint64]bool{"a": {}, "b": {}}}
				if i >= 4 {
					c.query = "&coalesce=30ms&spread=20ms"
				}
				checkers = append(checkers, c)
				readers.Go(func() {
					rng := rand.New(rand.NewPCG(seed+round, uint64(i)))
					if err := c.run(rng, func() string { return last.Load().(string) }); err != nil {
						t.Error(err)
					}
				})
			}
			rng := rand.New(rand.NewPCG(seed+round, 99))
			for range 300 {
				n := 1 + rng.IntN(5)
				if rng.IntN(30) == 0 {
					n = 100
				}
				h.batch(rng, n)
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
			last.Store(cursor(h.next))
			readers.Wait()
			var report strings.Builder
			for _, c := range checkers {
				if len(c.told["a"]) == 0 && c.merged == 0 {
					t.Errorf("%q was told nothing", c.user)
				}
				if merges := c.query != ""; merges != (c.merged > 0) {
					t.Errorf("%q with %q got %d frames that stand for several events", c.user, c.query, c.merged)
				}
				fmt.Fprintf(&report, " %d/%d/%d", len(c.told["a"])+len(c.told["b"]), c.repeats, c.merged)
			}
			t.Logf("told/repeated/merged:%s; dropped %d", report.String(), h.w.bus.Stats().Dropped)
		}
		eachWireInBubble(t, func(t *testing.T) { promises(t, overPipe, 0) })
		// In real time, for writers serve TCP alone; streams often wake for a heartbeat.
		t.Run("served", func(t *testing.T) { promises(t, overSocket, 5*time.Millisecond) })
	}
}
