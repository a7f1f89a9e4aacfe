package main

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// median returns the middle of values, NaN if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// medianAbove returns the median of what values are above those of the same rounds of base.
func medianAbove(values, base []float64) float64 {
	above := make([]float64, min(len(values), len(base)))
	for i := range above {
		above[i] = values[i] - base[i]
	}
	return median(above)
}

// fineness is how many buckets of a histogram a doubling has: a value is kept to
// within 0.8 %.
const (
	finenessBits = 7
	fineness     = 1 << finenessBits
)

// histogram counts durations. The zero value is empty. Not safe for concurrent use.
type histogram struct {
	counts [(64 - finenessBits) * fineness]uint64
	total  uint64
}

func bucketOf(v uint64) int {
	shift := max(0, bits.Len64(v)-finenessBits-1)
	return shift*fineness + int(v>>shift)
}

// add counts d; a negative one as zero.
func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(0, d)))]++
	h.total++
}

// merge adds what other counted.
func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile returns the value that the part q of all is not above, to within a
// bucket; NaN if there are none. In milliseconds.
func (h *histogram) quantile(q float64) float64 {
	if h.total == 0 {
		return math.NaN()
	}
	rank, seen := uint64(math.Ceil(q*float64(h.total))), uint64(0)
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return (lowest(i) + lowest(i+1) - 1) / 2 / 1e6
		}
	}
	panic("unreachable: the counts make the total")
}

// lowest returns the least value of bucket i.
func lowest(i int) float64 {
	if i < 2*fineness {
		return float64(i)
	}
	shift := i/fineness - 1
	return float64(uint64(i-shift*fineness) << shift)
}
