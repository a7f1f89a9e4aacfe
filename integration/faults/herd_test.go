package faults

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// herd is many clients that do nothing but listen, and come back at once.
type herd struct {
	addr    string
	live    atomic.Int64 // how many have a stream that is ready
	told    atomic.Int64 // events, of all
	changed chan struct{}
}

// sheep is one of them.
type sheep struct {
	*herd
	scope  string
	lastID string
	told   []int64 // ops, as they came
	flaw   string
}

// run listens until ctx is done.
func (s *sheep) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.listen(ctx)
		pause(ctx, rand.N(200*time.Millisecond))
	}
}

func (s *sheep) listen(ctx context.Context) {
	conn, body, err := openStream(ctx, s.addr, url.Values{"scope": {s.scope}}, "", s.lastID, 4096)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	events := &eventReader{in: bufio.NewReaderSize(body, 512), buffer: s.lastID, lastID: s.lastID}
	ready := false
	defer func() {
		s.lastID = events.lastID
		if ready {
			s.live.Add(-1)
		}
	}()
	for {
		b, err := events.next()
		if err != nil {
			return
		}
		if b.name == "ready" {
			ready = true
			s.live.Add(1)
		} else if f := readFrame(b); f.reset || f.flaw != "" {
			s.flaw = b.data
		} else {
			var op int64
			fmt.Sscanf(f.ident, "publish/%d", &op)
			s.told = append(s.told, op)
			s.herd.told.Add(1)
		}
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// await waits until so many are live and so many events were received by all.
func (h *herd) await(t *testing.T, live, told int) time.Duration {
	t.Helper()
	began := time.Now()
	most := int64(0)
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for int(h.live.Load()) != live || int(h.told.Load()) < told {
		select {
		case <-h.changed:
		case <-silence.C:
			now := h.live.Load() + h.told.Load()
			if now <= most {
				t.Fatalf("no more for %v: %d live, want %d; %d events, want %d", patience, h.live.Load(), live, h.told.Load(), told)
			}
			most = now
			silence.Reset(patience)
		}
	}
	return time.Since(began)
}

// All clients of a pgbell that was killed come back at once, each to what it
// missed. Postgres hardly notices.
func TestHerdComesBackWithoutTroublingPostgres(t *testing.T) {
	t.Parallel()
	const missed = 25 // events of each scope
	w := newWorld(t, config{})
	w.exec("create extension pg_stat_statements")
	bell, size := w.bells[0], *herdFlag
	if testing.Short() {
		size = min(size, 200)
	}
	h := &herd{addr: bell.addr, changed: make(chan struct{}, 1)}
	ctx, leave := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer leave()
	all := make([]*sheep, size)
	for i := range all {
		all[i] = &sheep{herd: h, scope: scope("news", 1+i%projects)}
		work.Go(func() { all[i].run(ctx) })
	}
	t.Logf("%d clients live at first: after %v", size, h.await(t, size, 0))

	bell.kill()
	publish := "select count(pgbell.publish('news:' || 1 + i % 4, jsonb_build_object('op', i))) from generate_series($1::int, $2) i"
	w.exec(publish, 1, missed*projects)
	w.exec("select pg_stat_statements_reset()")
	bell.start()
	took := h.await(t, size, size*missed)
	calls := ask[int](w, `select coalesce(sum(calls), 0)::int from pg_stat_statements s join pg_database d on d.oid = s.dbid
		where d.datname = current_database() and query ~ 'pgbell\.journal'`)
	cpu := bell.cpu()
	t.Logf("live again, and told of what they missed: after %v, of which %v on a processor; the journal was read %d times; pgbell has %d kB", took, cpu, calls, bell.memory())
	// It also reads once a second, whoever comes, and a dozen times at first, while transactions of others go on.
	if few := 20 + 2*int(took/time.Second); calls > few {
		t.Errorf("%d readings of the journal, want at most %d", calls, few)
	}
	// Not as the clock tells it, which goes on while others have the processors.
	if limit := 5*time.Second + time.Duration(size)*10*time.Millisecond; cpu > limit { // 7 s for 1000, with the race detector
		t.Errorf("pgbell worked for %v, want at most %v", cpu, limit)
	}

	w.exec(publish, missed*projects+1, missed*projects+projects)
	t.Logf("told of one more: after %v", h.await(t, size, size*(missed+1)))
	leave()
	work.Wait()
	for i, s := range all {
		if !slices.IsSorted(s.told) || len(s.told) != missed+1 || len(slices.Compact(slices.Sorted(slices.Values(s.told)))) != missed+1 || s.flaw != "" {
			t.Fatalf("client %d of %s was told %v, want %d; %s", i, s.scope, s.told, missed+1, s.flaw)
		}
	}
}

// cpu returns how long the process was on a processor, as Linux says; 0 elsewhere.
func (b *bell) cpu() time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	var user, system int // in hundredths of a second: proc(5), fields 14 and 15
	if _, rest, ok := strings.Cut(string(stat), ") "); ok {
		if fields := strings.Fields(rest); len(fields) > 12 {
			_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
		}
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory returns what the process occupies, in kB, as Linux says; 0 elsewhere.
func (b *bell) memory() (kB int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if _, rest, ok := strings.Cut(string(status), "VmRSS:"); ok {
		_, _ = fmt.Sscan(rest, &kB)
	}
	return kB
}
