package listener

import (
	"slices"
	"testing"
	"time"
)

// update makes one update and returns how long after its commit the event was on
// the bus: 0 if it was there before the writer itself knew.
func (w *world) update(r *reader) time.Duration {
	w.exec("update tasks set n = n + 1 where id = 1")
	committed := time.Now()
	if e, ok := r.sub.TryNext(); ok && e.Scope == "task:1" {
		return 0
	}
	r.next()
	return time.Since(committed)
}

// percentile returns the value that p percent of the sorted times are not above.
func percentile(times []time.Duration, p int) time.Duration {
	return times[min(len(times)*p/100, len(times)-1)]
}

func TestUpdateIsOnTheBusSoonAfterItsCommit(t *testing.T) {
	w := start(t, example.Database(t), options{})
	w.exec("insert into tasks (id) values (1)")
	r := w.subscribe("task:1")
	r.rest()
	var times []time.Duration
	for range 100 {
		times = append(times, w.update(r))
	}
	slices.Sort(times)
	t.Logf("p50 %v, p99 %v", percentile(times, 50), percentile(times, 99))
	if p50 := percentile(times, 50); p50 > time.Second {
		t.Errorf("the median is %v", p50)
	}
}

// Its guess at the many rows of a large journal has the planner start processes, for
// each reading: these take from the writers what the reading should not cost them.
func TestReadingsStartNoProcesses(t *testing.T) {
	w := start(t, example.Database(t), options{})
	conn, err := w.l.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.l.close(conn)
	var workers string
	if err := conn.QueryRow(t.Context(), "show max_parallel_workers_per_gather").Scan(&workers); err != nil || workers != "0" {
		t.Errorf("%s workers, %v", workers, err)
	}
}

func BenchmarkLatency(b *testing.B) {
	w := start(b, example.Database(b), options{})
	w.exec("insert into tasks (id) values (1)")
	r := w.subscribe("task:1")
	r.rest()
	var times []time.Duration
	for b.Loop() {
		times = append(times, w.update(r))
	}
	slices.Sort(times)
	b.ReportMetric(float64(percentile(times, 50).Microseconds()), "p50-µs")
	b.ReportMetric(float64(percentile(times, 99).Microseconds()), "p99-µs")
}
