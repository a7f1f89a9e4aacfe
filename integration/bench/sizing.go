package main

import (
	"fmt"
	"math"
	"strings"
)

// What the sizing supposes.
const (
	nodeStreams  = 50_000 // of one server
	quietSeconds = 10     // between two frames of one stream
	changeBytes  = 250    // an update's in the journal: docs/operations.md, "Sizing"
)

// sizing returns estimates for much more than was measured, as Markdown: the measured
// cost of one, many times.
func (r *report) sizing() string {
	var b strings.Builder
	b.WriteString("| | estimate | made of |\n|---|--:|---|\n")
	row := func(name, format string, value float64, of string) {
		fmt.Fprintf(&b, "| %s | "+format+" | %s |\n", name, rough(value), of)
	}
	memory, frames, read, handOut := r.of("memory-loaded"), r.of("fanout-cpu"), r.of("read"), r.of("hand-out") // KiB, s per million, changes/s of one core
	if memory > 0 {
		row("streams in 4 GiB", "%s", 4*(1<<20)/memory, "memory per stream, loaded")
		row(fmt.Sprintf("a million streams: memory in all, on 20 servers of %s", count(nodeStreams)), "%s GiB", 1e6*memory/(1<<20), "the same")
	}
	if frames > 0 {
		row("frames/s of one core", "%s", 1e6/frames, "server CPU per million frames")
		row(fmt.Sprintf("a million streams with a frame each %d s: cores in all", quietSeconds), "%s", 1e6/quietSeconds*frames/1e6, "the same")
	}
	if read > 0 && handOut > 0 {
		row("50,000 changes/s: cores of each server to read them", "%s", 50_000/read, "changes/s that one core reads, for each server reads all")
		row("and cores in all to hand each out to one stream", "%s", 50_000*(1/handOut-1/read), "changes/s that one core hands out, without reading them")
	}
	if tps := r.of("update-16"); tps > 0 {
		row("50,000 one-row transactions/s: cores of Postgres", "%s", 50_000/tps*float64(r.Machine.Cores), "one-row UPDATE, 16 clients, pgbench included")
	}
	row("50,000 changes/s: the journal grows by", "%s MB/s", 50_000*changeBytes/1e6, "[bytes of a change](operations.md#sizing)")
	row("and holds, with a retention of 10 minutes, at most", "%s GB", 50_000*changeBytes*2*600/1e9, "[the journal](operations.md#the-journal)")
	return b.String()
}

// rough returns v, above zero, with the two digits that an estimate has.
func rough(v float64) string {
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	return number(new(math.Round(v/unit) * unit))
}

// of returns pgbell's figure of a row, 0 if there is none.
func (r *report) of(key string) float64 {
	for _, f := range r.Rows {
		if f.Key == key && f.Pgbell != nil {
			return *f.Pgbell
		}
	}
	return 0
}
