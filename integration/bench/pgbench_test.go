//go:build linux

package main

import "testing"

func TestFirstSecondsOfPgbenchDontCount(t *testing.T) {
	const out = `starting vacuum...end.
progress: 1.0 s, 100.0 tps, lat 1.000 ms stddev 0.100, 0 failed
progress: 2.0 s, 3000.5 tps, lat 1.000 ms stddev 0.100, 0 failed
progress: 3.0 s, 3001.5 tps, lat 1.000 ms stddev 0.100, 0 failed
tps = 2000.0 (without initial connection time)
`
	if got, err := steadyTPS([]byte(out), 1); err != nil || got != 3001 {
		t.Errorf("got %v, %v, want 3001", got, err)
	}
	if got, err := steadyTPS([]byte(out), 3); err == nil {
		t.Errorf("got %v of no second that counts, want an error", got)
	}
}
