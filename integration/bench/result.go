package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"time"
)

// The contenders.
const (
	bare   = "bare"
	naive  = "naive"
	pgbell = "pgbell"
)

// figure is one row of the table.
type figure struct {
	Key    string             `json:"key"`
	Name   string             `json:"name"`
	Unit   string             `json:"unit"`
	Bare   *float64           `json:"bare,omitempty"`
	Naive  *float64           `json:"naive,omitempty"`
	Pgbell *float64           `json:"pgbell,omitempty"`
	Others map[string]float64 `json:"others,omitempty"` // what else ran, for comparison
	Ratio  *float64           `json:"ratio,omitempty"`  // of pgbell's figure to that of RatioTo
	Of     string             `json:"ratio_to,omitempty"`
	Target *target            `json:"target,omitempty"`
	Met    *bool              `json:"met,omitempty"`
	Note   string             `json:"note,omitempty"`
}

// target bounds a ratio, or a figure where the row has no ratio.
type target struct {
	AtLeast *float64 `json:"at_least,omitempty"`
	AtMost  *float64 `json:"at_most,omitempty"`
}

func atLeast(v float64) *target { return &target{AtLeast: &v} }
func atMost(v float64) *target  { return &target{AtMost: &v} }

// judge fills in the ratio, to the figure of one called of, "" for none, and whether
// the target is met.
func (f figure) judge(of string, t *target) figure {
	return f.against(of, map[string]*float64{bare: f.Bare, naive: f.Naive}[of], t)
}

// against does so with a ratio to base, which may be another row's figure.
func (f figure) against(of string, base *float64, t *target) figure {
	value := f.Pgbell
	if of != "" {
		value = nil
		if base != nil && *base != 0 && f.Pgbell != nil {
			value = new(*f.Pgbell / *base)
			f.Ratio, f.Of = value, of
		}
	}
	f.Target = t
	if t != nil && value != nil {
		met := (t.AtLeast == nil || *value >= *t.AtLeast) && (t.AtMost == nil || *value <= *t.AtMost)
		f.Met = &met
	}
	return f
}

// aboveBare makes f a row of times above bare's, of those that each contender had in each
// round.
func (f *figure) aboveBare(times map[string][]float64) {
	f.Name += ", time above bare"
	f.Bare = new(median(times[bare]))
	f.Naive, f.Pgbell = new(medianAbove(times[naive], times[bare])), new(medianAbove(times[pgbell], times[bare]))
	f.Note = "bare: its whole time"
}

// complete says whether all of the row's figures are numbers.
func (f figure) complete() bool {
	if f.Pgbell == nil {
		return false
	}
	for _, v := range []*float64{f.Bare, f.Naive, f.Pgbell, f.Ratio} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			return false
		}
	}
	return true
}

// line is what a picture shows of one contender.
type line struct {
	Name string    `json:"name"`
	X    []float64 `json:"x"`
	Y    []float64 `json:"y"`
}

// report is all that one run measured.
type report struct {
	At      time.Time         `json:"at"`
	Took    string            `json:"took"`
	Quick   bool              `json:"quick,omitempty"` // then the figures mean nothing
	Machine machine           `json:"machine"`
	Rows    []figure          `json:"rows"`
	Curves  map[string][]line `json:"curves"`
}

// write writes the report as JSON, and a picture of each curve that was measured.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "performance.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	for name, c := range charts {
		lines := r.Curves[name]
		if len(lines) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name+".svg"), c.draw(lines), 0o644); err != nil {
			return err
		}
	}
	return nil
}
