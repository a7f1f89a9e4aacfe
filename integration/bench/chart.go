package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart is a picture of lines. The places on the x axis are the values measured, side
// by side, since each is some multiple of the one before.
type chart struct {
	title, x string
	log      bool // the y axis is logarithmic
}

// charts are the pictures, by the name of their curves.
var charts = map[string]chart{
	"throughput": {title: "One-row updates, transactions/s by number of writers", x: "writers"},
	"latency":    {title: "From the statement to the frame, ms by load", x: "changes/s", log: true},
	"memory":     {title: "Memory of the server, MiB by number of streams", x: "streams"},
}

const (
	chartWidth, chartHeight = 640, 340
	plotLeft, plotRight     = 64, 500 // the names of the lines are to the right
	plotTop, plotBottom     = 48, 284
)

const chartHead = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="t">
<title id="t">%[3]s</title>
<style>
  :root { --bg:#ffffff; --line:#d0d7de; --ink:#1f2328; --soft:#59636e; --pgbell:#0969da; --naive:#bc4c00; }
  @media (prefers-color-scheme: dark) {
    :root { --bg:#0d1117; --line:#3d444d; --ink:#f0f6fc; --soft:#9198a1; --pgbell:#4493f8; --naive:#f0883e; }
  }
  .bg { fill: var(--bg); }
  .grid { stroke: var(--line); }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; fill: var(--soft); }
  .head { font-size: 15px; font-weight: 600; fill: var(--ink); }
  .mid { text-anchor: middle; }
  .end { text-anchor: end; }
  path { fill: none; stroke-width: 2.2; stroke: var(--soft); }
  .dashed { stroke-dasharray: 6 4; }
  .pgbell { stroke: var(--pgbell); }
  .naive { stroke: var(--naive); }
  circle { fill: var(--soft); }
  circle.pgbell { fill: var(--pgbell); } circle.naive { fill: var(--naive); }
  text.pgbell { fill: var(--pgbell); stroke: none; font-weight: 600; } text.naive { fill: var(--naive); stroke: none; font-weight: 600; }
</style>
<rect class="bg" width="%[1]d" height="%[2]d" rx="10"/>
<text x="16" y="26" class="head">%[3]s</text>
`

// draw returns the picture as SVG. All lines have the same places on the x axis.
func (c chart) draw(lines []line) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, chartHead, chartWidth, chartHeight, html.EscapeString(c.title))
	low, high, ticks := c.scale(lines)
	place := func(v float64) float64 {
		part := (v - low) / (high - low)
		if c.log {
			part = math.Log(max(v, low)/low) / math.Log(high/low)
		}
		return plotBottom - part*(plotBottom-plotTop)
	}
	for _, v := range ticks {
		y := place(v)
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" class="end">%s</text>`+"\n",
			plotLeft, plotRight, y, y, plotLeft-8, y+4, number(&v))
	}
	places := lines[0].X
	across := func(i int) float64 {
		return plotLeft + 16 + float64(i)*(plotRight-plotLeft-32)/float64(max(1, len(places)-1))
	}
	for i, v := range places {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" class="mid">%s</text>`+"\n", across(i), plotBottom+20, number(&v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" class="mid">%s</text>`+"\n", (plotLeft+plotRight)/2, plotBottom+42, html.EscapeString(c.x))
	names := spread(lines, place)
	for n, l := range lines {
		class := l.class()
		fmt.Fprintf(&b, `<path class="%s" d="`, class)
		for i, v := range l.Y {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(i, 1)], across(i), place(v))
		}
		b.WriteString(`"/>`)
		for i, v := range l.Y {
			fmt.Fprintf(&b, `<circle class="%s" cx="%.1f" cy="%.1f" r="3"/>`, class, across(i), place(v))
		}
		last := l.Y[len(l.Y)-1]
		fmt.Fprintf(&b, `<text class="%s" x="%d" y="%.1f">%s %s</text>`+"\n", class, plotRight+2, names[n]+4, html.EscapeString(l.Name), number(&last))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// class returns the classes of a line: its contender's, and dashed for a median beside
// a p99, or for what is there for comparison only.
func (l line) class() string {
	name, quantile, _ := strings.Cut(l.Name, " ")
	class := strings.ReplaceAll(name, "/", "-")
	if quantile == "p50" || name == "hijacked" {
		class += " dashed"
	}
	return class
}

// scale returns the ends of the y axis and the values that have a line across.
func (c chart) scale(lines []line) (low, high float64, ticks []float64) {
	least, most := math.Inf(1), 0.0
	for _, l := range lines {
		for _, v := range l.Y {
			least, most = min(least, v), max(most, v)
		}
	}
	if c.log {
		low = math.Pow(10, math.Floor(math.Log10(max(least, 1e-3))))
		high = max(10*low, math.Pow(10, math.Ceil(math.Log10(max(most, 1e-3)))))
		for v := low; v <= high*1.001; v *= 10 {
			ticks = append(ticks, v)
		}
		return low, high, ticks
	}
	if most <= 0 {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{0.2, 0.5} {
		if most/(step*part) <= 5 {
			step *= part
			break
		}
	}
	high = step * math.Ceil(most/step)
	for v := 0.0; v <= high*1.001; v += step {
		ticks = append(ticks, v)
	}
	return 0, high, ticks
}

// spread returns at which height each line's name stands: by its end, and below the
// name that is above it.
func spread(lines []line, place func(float64) float64) []float64 {
	const apart = 18
	at := make([]float64, len(lines))
	order := make([]int, len(lines))
	for i, l := range lines {
		at[i], order[i] = place(l.Y[len(l.Y)-1]), i
	}
	for i := range order { // few: insertion
		for j := i; j > 0 && at[order[j]] < at[order[j-1]]; j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
	}
	for i := 1; i < len(order); i++ {
		at[order[i]] = max(at[order[i]], at[order[i-1]]+apart)
	}
	return at
}
