package journal

// Sequence watches the records of feeds that aren't durable, which come one at a time.
// The zero value is ready to use.
type Sequence struct {
	tx    uint64
	steps map[string][]step // of the transaction's last table and key so far
}

// Certain says whether what came of r's keys, in r's transaction so far, came in the order
// in which it happened. If not, a reset is due behind r.
func (s *Sequence) Certain(r *Record) bool {
	if r.Reset != nil || r.spec == nil || len(r.spec.key) == 0 {
		return true
	}
	if r.Tx != s.tx || s.steps == nil || len(s.steps) > maxSequence {
		s.tx, s.steps = r.Tx, map[string][]step{}
	}
	certain := true
	for _, step := range r.steps(0, nil) {
		key := r.Table + " " + step.key
		steps := append(s.steps[key], step)
		at := make([]int, len(steps))
		for i := range at {
			at[i] = i
		}
		trail, ok := chain(steps, at)
		certain = certain && ok && trail == nil
		s.steps[key] = steps
	}
	return certain
}

// maxSequence is how many keys of a transaction are watched at most.
const maxSequence = 10_000
