package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Many clients that never read a byte cost what their queues and buffers may hold,
// each, until they are cut; then nothing.
func TestHerdThatDoesNotReadTakesLittleMemory(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{})
	bell, size := w.bells[0], *herdFlag
	if raceDetector() { // which takes several times the memory
		bell.kill()
		bell.binary = filepath.Join(t.TempDir(), "pgbell")
		if err := build(bell.binary, false); err != nil {
			t.Fatal(err)
		}
		bell.start()
		w.awaitBells()
	}
	before := bell.memory()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	conns := make([]net.Conn, size)
	var opening sync.WaitGroup
	for first := range 20 {
		opening.Go(func() {
			for i := first; i < size; i += 20 {
				conn, _, err := openStream(ctx, bell.addr, url.Values{"scope": {"news"}}, "", "", 4096)
				if err != nil {
					t.Error(err)
					return
				}
				conns[i] = conn
			}
		})
	}
	opening.Wait()
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	opened := bell.memory()

	// More than the kernel takes, and then some, until all are cut.
	pad := strings.Repeat("x", 8000)
	most := opened
	for open, fewest, cut := size, size, time.Now(); open > 0; pause(ctx, 50*time.Millisecond) {
		w.exec("select count(pgbell.publish('news', jsonb_build_object('pad', $1::text, 'n', i + $2::int))) from generate_series(1, 20) i", pad, rand.IntN(1<<30))
		if metrics, _, err := bell.get(ctx, "/metrics"); err == nil { // else it is busy
			if _, err := fmt.Sscanf(metrics[strings.Index(metrics, "\npgbell_streams_open ")+1:], "pgbell_streams_open %d", &open); err != nil {
				t.Fatal(err)
			}
		}
		most = max(most, bell.memory())
		if open < fewest {
			fewest, cut = open, time.Now()
		}
		if time.Since(cut) > patience {
			t.Fatalf("%d of %d streams are still open, and none was cut for %v", open, size, patience)
		}
	}
	t.Logf("%d streams: %d kB before, %d kB open, at most %d kB while stalled: %d kB for each", size, before, opened, most, (most-before)/size)
	if limit := 250_000 + 100*size; most-before > limit {
		t.Errorf("%d kB for %d streams, want at most %d kB", most-before, size, limit)
	}
}
