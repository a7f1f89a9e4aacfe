package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRecordsOfOneKindAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newLogger(&out, slog.LevelDebug)
		lines := func() []string {
			defer out.Reset()
			return strings.Split(strings.TrimSpace(out.String()), "\n")
		}
		for range 1000 {
			log.Warn("flood", "err", "x")
		}
		log.Warn("another")
		log.With("a", 1).WithGroup("g").Warn("flood")
		if got := lines(); len(got) != logMost+1 || !strings.Contains(got[logMost], "another") {
			t.Errorf("got %q, want ten of the flood, and the other", got)
		}
		time.Sleep(logEvery)
		log.Warn("flood")
		log.Warn("flood")
		if got := lines(); len(got) != 2 || !strings.Contains(got[0], `"left_out":991`) || strings.Contains(got[1], "left_out") {
			t.Errorf("got %q, want the first to say how many were left out", got)
		}
		for range 100 {
			log.Debug("flood")
		}
		if got := lines(); len(got) != 100 {
			t.Errorf("%d records of debug, want all", len(got))
		}
	})
}
