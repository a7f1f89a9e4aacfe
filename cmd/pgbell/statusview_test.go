package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/triggers"
)

func TestHistoryKeepsTheLastMinutes(t *testing.T) {
	h := newHistory()
	h.tick(totals{events: 3, frames: 2, position: "1"})
	h.observe(journal.Record{}) // of a reset that nobody wrote
	h.observe(journal.Record{At: time.Now().Add(-time.Hour)})
	h.observe(journal.Record{At: time.Now().Add(time.Hour)}) // the clocks differ
	h.tick(totals{events: 10, frames: 2, lost: 1, position: "1"})
	h.observe(journal.Record{At: time.Now().Add(time.Hour)})
	h.tick(totals{events: 11, frames: 2, lost: 1, position: "2"})
	seconds, _, moved := h.recent()
	if len(seconds) != 3 || seconds[1].lag < time.Hour || seconds[1].lag > time.Hour+time.Minute {
		t.Fatalf("got %+v, want three seconds, the second with a lag of an hour", seconds)
	}
	seconds[1].lag = time.Hour
	want := []second{{events: 3, frames: 2, lag: -1}, {events: 7, lost: 1, lag: time.Hour}, {events: 1, lag: 0}}
	if diff := cmp.Diff(want, seconds, cmp.AllowUnexported(second{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if moved.IsZero() {
		t.Error("the position is said to have never moved")
	}
	for range historyLength {
		h.tick(totals{events: 11})
	}
	if seconds, _, _ = h.recent(); len(seconds) != historyLength || seconds[0].events != 0 {
		t.Errorf("%d seconds are kept, want %d", len(seconds), historyLength)
	}
}

func TestHistoryKeepsTheLastResets(t *testing.T) {
	h := newHistory()
	for i := range resetsKept {
		h.reset(bus.ChangeEvent{Table: fmt.Sprint(i), Reason: "old"}, 2)
	}
	h.reset(bus.ChangeEvent{Table: "0", Reason: "old"}, 1)
	h.reset(bus.ChangeEvent{Table: "public.tasks", Reason: "new"}, 3)
	_, resets, _ := h.recent()
	for i := range resets {
		resets[i].at = time.Time{}
	}
	want := []wasReset{
		{table: "public.tasks", reason: "new", times: 1, scopes: 3},
		{table: "0", reason: "old", times: 2, scopes: 3},
		{table: "19", reason: "old", times: 1, scopes: 2},
	}
	if diff := cmp.Diff(want, resets[:3], cmp.AllowUnexported(wasReset{})); diff != "" || len(resets) != resetsKept {
		t.Errorf("%d resets are kept, want %d; the newest, -want +got:\n%s", len(resets), resetsKept, diff)
	}
	if got := h.resetTotal(); got != 2*resetsKept+1+3 {
		t.Errorf("%d scopes were reset, want %d", got, 2*resetsKept+1+3)
	}
}

func TestChartsDrawABarForEachSecond(t *testing.T) {
	all := charts([]second{{events: 40, lag: 200 * time.Millisecond}, {lag: -1}, {events: 10, lag: 0}})
	for i, want := range []chart{
		{Name: "Events", Now: "10/s", Most: "40/s", Top: "50/s", Width: 300, Bars: "M297.5 100V20.0M299.5 100V80.0"},
		{Name: "Lag", Now: "0.0 ms", Most: "200 ms", Top: "200 ms", Width: 300, Bars: "M297.5 100V0.0M299.5 100V98.0"},
	} {
		if diff := cmp.Diff(want, all[i]); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	if c := charts(nil)[1]; c.Now != "–" || c.Most != "–" || c.Bars != "" || c.Top != "10 ms" {
		t.Errorf("nothing happened: got %+v", c)
	}
}

func TestTroublesSayWhatToDo(t *testing.T) {
	faulty := feedsSeen{at: time.Now(), feeds: []triggers.Feed{{State: "ok"}, {State: "column x is gone"}}}
	unknown := feedsSeen{at: time.Now(), feeds: []triggers.Feed{{}, {}}, role: "listener"}
	for _, test := range []struct {
		name           string
		ready          error
		seen           feedsSeen
		queue          float64
		streams, limit int
		lost           uint64
		bad            bool
		says           string
	}{
		{"deaf", errors.New("no route to host"), feedsSeen{}, 0, 0, 10, 0, true, "no route to host"},
		{"queue", nil, feedsSeen{}, .1, 0, 10, 0, false, "10 % full"},
		{"full queue", nil, feedsSeen{}, .5, 0, 10, 0, true, "stopped ringing"},
		{"feed", nil, faulty, 0, 0, 10, 0, false, "1 feed is"},
		{"feeds of unknown state", nil, unknown, 0, 0, 10, 0, false, "state of the feeds is not known"},
		{"streams", nil, feedsSeen{}, 0, 9, 10, 0, false, "9 of 10 streams"},
		{"no stream left", nil, feedsSeen{}, 0, 10, 10, 0, true, "10 of 10 streams"},
		{"slow", nil, feedsSeen{}, 0, 0, 10, 1, false, "too slow"},
	} {
		all := troubles(test.ready, test.seen, test.queue, test.streams, test.limit, test.lost)
		if len(all) != 1 || all[0].Bad != test.bad || !strings.Contains(all[0].Words, test.says) || all[0].Todo == "" {
			t.Errorf("%s: got %+v, want one that says %q, bad: %v", test.name, all, test.says, test.bad)
		}
	}
	if all := troubles(nil, feedsSeen{feeds: faulty.feeds[:1]}, .09, 8, 10, 0); all != nil {
		t.Errorf("got %+v, want none", all)
	}
}

func TestStatusWords(t *testing.T) {
	for got, want := range map[string]string{
		thousands(0): "0", thousands(999): "999", thousands(1000): "1,000", thousands(1234567): "1,234,567",
		roughly(-time.Second): "0 s", roughly(59 * time.Second): "59 s", roughly(90 * time.Second): "1 min", roughly(time.Hour): "1 h",
		roughly(47*time.Hour + 5*time.Minute): "47 h 5 min", roughly(50 * time.Hour): "2 days",
		milliseconds(1500 * time.Microsecond): "1.5 ms", milliseconds(15 * time.Millisecond): "15 ms", milliseconds(1500 * time.Millisecond): "1.5 s", milliseconds(time.Minute): "1 min",
		byteSize(0): "0 B", byteSize(8192): "8.0 kB", byteSize(50 << 20): "50 MB", byteSize(1 << 60): "1048576 TB",
		plural(1, "feed", "feeds"): "1 feed", plural(1000, "feed", "feeds"): "1,000 feeds",
		refusedWords(nil): "none", refusedWords(map[string]uint64{"a": 0}): "none", refusedWords(map[string]uint64{"b": 1, "a": 1, "c": 2000, "d": 0}): "2,000 c, 1 a, 1 b",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
