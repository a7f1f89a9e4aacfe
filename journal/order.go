package journal

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgbell/pgbell/journal/scope"
)

// order brings the records of each transaction into an order in which nobody who
// applies them ends with something else than what the table holds. All records of each
// transaction must be among records.
//
// A statement is recorded when it is over: after what its triggers and functions wrote
// to the same table, though that came later, and in any order among the parts of one
// statement (WITH, MERGE). So where several records of a transaction concern one key,
// its changes are put in the only order in which each begins with the values that the
// one before ended with. If there is none, or if the key ends where it began, so that any
// of them could be the last, the table's scopes get a reset behind all. What the client sent
// one after the other is in order, though: that shows by the time when the server got it.
type order struct {
	seen map[uint64]int // records of each transaction
}

// tell returns records in that order. It may change them, and what it returns may be
// the same slice.
func (o *order) tell(records []*Record) []*Record {
	if o.seen == nil {
		o.seen = map[uint64]int{}
	}
	clear(o.seen)
	several := false
	for _, r := range records {
		o.seen[r.Tx]++
		several = several || o.seen[r.Tx] > 1 || r.spec != nil && r.spec.deferrable
	}
	if !several {
		return records
	}
	type group struct {
		tx    uint64
		table string
	}
	groups := map[group][]int{}
	for i, r := range records {
		if r.Table != "" && !r.Attach && (o.seen[r.Tx] > 1 || r.spec != nil && r.spec.deferrable) {
			g := group{r.Tx, r.Table}
			groups[g] = append(groups[g], i)
		}
	}
	instead := map[int][]*Record{} // of the last record of a group
	gone := map[int]bool{}
	for _, indexes := range groups {
		of := make([]*Record, len(indexes))
		for i, at := range indexes {
			of[i] = records[at]
		}
		if arranged, ok := arrange(of); ok {
			instead[indexes[len(indexes)-1]] = arranged
			for _, at := range indexes[:len(indexes)-1] {
				gone[at] = true
			}
		}
	}
	if len(instead) == 0 {
		return records
	}
	// Those of other transactions that stood in between concern no row of these: it was
	// locked until the commit.
	told := make([]*Record, 0, len(records))
	for i, r := range records {
		switch arranged, ok := instead[i]; {
		case ok:
			told = append(told, arranged...)
		case !gone[i]:
			told = append(told, r)
		}
	}
	return told
}

// step is what one change did to one key. A change that gave a row another key did two:
// it left the one and came to the other.
type step struct {
	record   int
	change   Change
	split    int // of the two, 1 for the leaving, 2 for the coming; else 0
	key      string
	from, to string // the row's recorded values; empty: there was none, there is none
}

// arrange orders the records of one transaction and one table. It returns false if they
// are in order.
func arrange(records []*Record) ([]*Record, bool) {
	records, changed := oneReset(records)
	var steps []step
	places := map[string][]int{} // of the steps of a key
	last, deferrable, statements := uint64(0), false, 0
	for i, r := range records {
		if r.Reset != nil || r.spec == nil || len(r.spec.key) == 0 {
			continue
		}
		deferrable = deferrable || r.spec.deferrable
		if r.LSN != last || statements == 0 {
			statements, last = statements+1, r.LSN
		}
		steps = r.steps(i, steps)
	}
	if statements < 2 && !deferrable {
		return records, changed
	}
	for i, s := range steps {
		places[s.key] = append(places[s.key], i)
	}
	moved := false
	doubtful := false
	for _, at := range places {
		if len(at) < 2 || !deferrable && oneStatement(records, steps, at) {
			continue
		}
		trail, certain := chain(steps, at)
		if !certain && !deferrable && ordered(steps, at) && oneByOne(records, steps, at) {
			continue
		}
		switch {
		case !certain:
			doubtful = true
		case trail != nil:
			of := make([]step, len(at))
			for i, index := range trail {
				of[i] = steps[index]
			}
			for i, index := range at {
				steps[index] = of[i]
			}
			moved = true
		}
	}
	if !moved && !doubtful {
		return records, changed
	}
	if moved {
		records = recordsOf(steps, records)
	}
	if doubtful {
		records = append(records, records[len(records)-1].Doubtful())
	}
	return records, true
}

// oneReset leaves out resets that say again what one before said: a trigger for each row
// or partition gives rise to many.
func oneReset(records []*Record) (kept []*Record, changed bool) {
	reasons := map[string]bool{}
	kept = slices.DeleteFunc(slices.Clone(records), func(r *Record) bool {
		if r.Reset == nil {
			return false
		}
		again := reasons[r.Reset.Reason]
		reasons[r.Reset.Reason] = true
		return again
	})
	return kept, len(kept) < len(records)
}

// steps appends those of r, which is the record at index.
func (r *Record) steps(index int, steps []step) []step {
	values := r.values
	if values == nil {
		values, _ = readFacts(nil, r.facts) // they could be read when the record came
	}
	width, ok := r.spec.width(r.Op, values)
	for ; ok && len(values) > 0; values = values[width:] {
		old, new, changed := r.spec.row(r.Op, values[:width])
		var was, is Change
		if old != nil {
			was.Side, _ = r.spec.side(old)
		}
		if new != nil {
			is.Side, _ = r.spec.side(new)
			is.Data = r.spec.data(new)
		}
		switch {
		case old == nil:
			steps = append(steps, step{record: index, change: is, key: string(is.Key), to: state(new)})
		case new == nil:
			was.Data = r.spec.data(old)
			steps = append(steps, step{record: index, change: was, key: string(was.Key), from: state(old)})
		case string(was.Key) == string(is.Key):
			is.Changed = names(changed)
			if !was.Side.equal(is.Side) {
				is.Old = &was.Side
			}
			steps = append(steps, step{record: index, change: is, key: string(is.Key), from: state(old), to: state(new)})
		default:
			leaving := Change{Side: Side{Audience: is.Audience, Key: is.Key}, Old: &was.Side}
			coming := is
			coming.Changed = names(changed)
			coming.Old = &Side{Audience: was.Audience, Key: was.Key}
			steps = append(steps,
				step{record: index, change: leaving, split: 1, key: string(was.Key), from: state(old)},
				step{record: index, change: coming, split: 2, key: string(is.Key), to: state(new)})
		}
	}
	return steps
}

// state returns the recorded values of a row as one text, which is never empty.
func state(row []fact) string {
	var b strings.Builder
	for _, f := range row {
		if !f.given {
			b.WriteByte('-')
			continue
		}
		b.WriteString(strconv.Itoa(len(f.text)))
		b.WriteByte(':')
		b.WriteString(f.text)
	}
	return b.String()
}

// oneStatement says whether all of these steps were recorded by one statement, which
// does so in the order in which it took them.
func oneStatement(records []*Record, steps []step, at []int) bool {
	first := records[steps[at[0]].record].LSN
	return !slices.ContainsFunc(at, func(i int) bool { return records[steps[i].record].LSN != first })
}

// oneByOne says whether the client sent what took these steps one after the other.
func oneByOne(records []*Record, steps []step, at []int) bool {
	for i := 1; i < len(at); i++ {
		before, after := records[steps[at[i-1]].record], records[steps[at[i]].record]
		if before.LSN != after.LSN && before.statement == after.statement {
			return false
		}
	}
	return true
}

// ordered says whether each of the steps begins where the one before ended.
func ordered(steps []step, at []int) bool {
	for i := 1; i < len(at); i++ {
		if steps[at[i-1]].to != steps[at[i]].from {
			return false
		}
	}
	return true
}

// chain returns the only order of the steps of a key in which each begins where the one
// before ended; nil, if they are in it. It isn't certain if there is none, or if the last
// ends where the first began by way of something else: then another could be the last.
func chain(steps []step, at []int) (trail []int, certain bool) {
	first, last := steps[at[0]], steps[at[len(at)-1]]
	moves := false
	degree := map[string]int{} // of each state, how many more steps begin there than end there
	for _, index := range at {
		s := steps[index]
		moves = moves || s.from != s.to
		degree[s.from]++
		degree[s.to]--
	}
	if ordered(steps, at) && (!moves || first.from != last.to) {
		return nil, true
	}
	// The order is an Eulerian trail, https://en.wikipedia.org/wiki/Eulerian_path, from the
	// only state that more steps leave.
	start, found := "", false
	for s, d := range degree {
		switch {
		case d == 1 && !found:
			start, found = s, true
		case d > 0:
			return nil, false
		}
	}
	if !found {
		return nil, false
	}
	left := map[string][]int{} // steps that begin in a state, the earliest recorded last
	for i := len(at) - 1; i >= 0; i-- {
		from := steps[at[i]].from
		left[from] = append(left[from], at[i])
	}
	// Hierholzer's algorithm: go on while there is a way, then back to where another begins.
	type hop struct {
		state string
		step  int
	}
	way := []hop{{start, -1}}
	for len(way) > 0 {
		here := way[len(way)-1]
		if out := left[here.state]; len(out) > 0 {
			left[here.state] = out[:len(out)-1]
			next := out[len(out)-1]
			way = append(way, hop{steps[next].to, next})
			continue
		}
		way = way[:len(way)-1]
		if here.step >= 0 {
			trail = append(trail, here.step)
		}
	}
	if len(trail) != len(at) {
		return nil, false
	}
	slices.Reverse(trail)
	return trail, true
}

// recordsOf makes records of steps in their order, one for each run that one record gave.
func recordsOf(steps []step, records []*Record) []*Record {
	var told []*Record
	from := -1
	for i := 0; i < len(steps); i++ {
		s := steps[i]
		if s.record != from {
			r := *records[s.record]
			r.Changes, r.facts, r.values = nil, "", nil
			told, from = append(told, &r), s.record
		}
		if s.split == 1 && i+1 < len(steps) && steps[i+1].split == 2 && steps[i+1].record == s.record && steps[i+1].key == string(s.change.Key) && steps[i+1].change.Old != nil && string(steps[i+1].change.Old.Key) == s.key {
			s.change = steps[i+1].change // the two halves of one change, side by side
			s.change.Old = steps[i].change.Old
			i++
		}
		r := told[len(told)-1]
		r.Changes = append(r.Changes, s.change)
	}
	for _, r := range told {
		r.scopes = newFilter(r.Changes)
	}
	for _, r := range records {
		if r.Reset != nil || r.spec == nil || len(r.spec.key) == 0 {
			told = append(told, r) // it wasn't looked at: a reset, which nothing may follow that was before it
		}
	}
	return told
}

// Doubtful returns the reset of all scopes of r's table, for a reader that emitted r before
// it knew all of the transaction.
func (r *Record) Doubtful() *Record {
	reset := &Record{LSN: r.LSN, Tx: r.Tx, At: r.At, Table: r.Table}
	if r.spec != nil {
		reset.reset(ReasonOrder, r.spec.templates...)
	} else {
		reset.reset(ReasonOrder, scope.Any())
	}
	return reset
}
