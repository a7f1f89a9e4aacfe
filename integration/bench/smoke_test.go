//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == serveArg { // this binary stands in for the harness's
		if err := serve(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// TestHarnessMeasures runs all but one-row updates by pgbench with hardly any load: that
// there are figures counts, not which.
func TestHarnessMeasures(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	p := quick
	p.noSync = true
	p.rows, p.flushers, p.sessions, p.backlog = 200, 2, 1, 50
	p.bulk, p.commits, p.streams, p.scopes, p.scopesRate, p.teams = 100, 20, []int{3, 5}, 5, 50, 5
	p.most.streams = 3
	p.live = livePlan{streams: 6, queries: 3, each: 1, rate: 10}
	p.stalled = stalledPlan{rate: 1000, lead: 50, counted: 20}
	r, err := measure(t.Context(), p, regexp.MustCompile("burst|statements|bulk|sysbench|silent|latency|read|fanout|groups|scopes|live|most|stalled"), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"burst", "burst-slow-flush",
		"rows-1", "rows-2", "rows-10", "rows-100", "moves", "altered", "partitioned-1", "large", "rows-all", "partitioned-all", "first-write",
		"bulk", "oltp-insert", "oltp-update-index", "oltp-write-only", "no-listener", "latency-50-p50", "latency-50-p99", "latency-3000-p99", "read",
		"fanout-p50", "fanout-p99", "fanout-cpu", "memory-idle", "memory-loaded", "groups-p99", "groups-cpu", "groups-memory", "scopes-p50", "scopes-p99", "change-cpu", "hand-out", "live-p50", "live-p99", "live-statements", "live-idle", "live-return", "most-frames", "stalled",
	}
	var got []string
	rows := map[string]figure{}
	for _, row := range r.Rows {
		got, rows[row.Key] = append(got, row.Key), row
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got the rows %v, want %v", got, want)
	}
	// What does not hang on the time taken is exact.
	if got := *rows["no-listener"].Naive; got != 1000 {
		t.Errorf("naive notified in %v of 1,000 transactions", got)
	}
	if got := *rows["stalled"].Pgbell; got != 100 {
		t.Errorf("%v %% of the frames came beside a stalled client, want all", got)
	}
	dir := t.TempDir()
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"performance.json", "latency.svg", "memory.svg"} {
		if info, err := os.Stat(dir + "/" + name); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInterruptedRunLeavesNothing: no file. That no process is left goleak tells, since a
// goroutine waits for each.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "pgbell-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL may run as another user
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	p := quick
	p.noSync, p.rates, p.loadRows = true, []int{50}, 500
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = measure(ctx, p, regexp.MustCompile("latency|fanout"), func(string, ...any) { cancel() })
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v, want an error that says so", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
