package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// chart is one measure of the last minutes, a bar for each second.
type chart struct {
	Name  string
	Now   string // the newest value
	Most  string // the largest shown
	Top   string // what the upper edge stands for
	Width int    // of the drawing; it is 100 high
	Bars  string // an SVG path
}

// newChart draws values, the newest last; a negative one is none. least is what the
// upper edge stands for at least.
func newChart(name string, values []float64, least float64, words func(float64) string) chart {
	most, now := -1.0, -1.0
	for _, v := range values {
		most = max(most, v)
	}
	if len(values) > 0 {
		now = values[len(values)-1]
	}
	top := roundUp(max(most, least))
	c := chart{Name: name, Now: words(now), Most: words(most), Top: words(top), Width: historyLength}
	var path strings.Builder
	for i, v := range values {
		if v < 0 {
			continue
		}
		height := max(2, 100*v/top) // so that little is seen, too
		fmt.Fprintf(&path, "M%d.5 100V%.1f", historyLength-len(values)+i, 100-height)
	}
	c.Bars = path.String()
	return c
}

// roundUp returns the next of 1, 2, 5, 10, 20, and so on.
func roundUp(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if v <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}

// charts draws a history.
func charts(seconds []second) []chart {
	var events, lag []float64
	for _, s := range seconds {
		rate, ms := -1.0, -1.0
		if s.events > 0 {
			rate = float64(s.events)
		}
		events = append(events, rate)
		if s.lag >= 0 {
			ms = float64(s.lag.Microseconds()) / 1000
		}
		lag = append(lag, ms)
	}
	return []chart{
		newChart("Events", events, 5, func(v float64) string { return thousands(uint64(max(0, v))) + "/s" }),
		newChart("Lag", lag, 10, func(v float64) string {
			if v < 0 {
				return "–"
			}
			return milliseconds(time.Duration(v * float64(time.Millisecond)))
		}),
	}
}
