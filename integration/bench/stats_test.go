package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 3}, 3},
		{[]float64{9, 1, 3, 5}, 4},
	} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestQuantilesAreWithinABucketOfTheTruth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h, other histogram
	var all []float64
	for i := range 10_000 {
		d := time.Duration(rnd.ExpFloat64() * 1e6)
		all = append(all, float64(d)/1e6)
		if i%2 == 0 {
			h.add(d)
		} else {
			other.add(d)
		}
	}
	h.merge(&other)
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.99, 1} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := h.quantile(q); math.Abs(got-want) > want*0.008 {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
}

func TestHistogramHoldsAnyDuration(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want float64
	}{
		{-time.Second, 0}, {0, 0}, {1, 1e-6}, {255, 255e-6}, {256, 256.5e-6}, {math.MaxInt64, math.MaxInt64 / 1e6},
	} {
		var h histogram
		h.add(tt.d)
		if got := h.quantile(0.5); math.Abs(got-tt.want) > tt.want*0.008 {
			t.Errorf("of %v alone the median is %v ms, want %v", tt.d, got, tt.want)
		}
	}
	var none histogram
	if got := none.quantile(0.5); !math.IsNaN(got) {
		t.Errorf("quantile of nothing = %v, want NaN", got)
	}
}
