package journal

import "strings"

// fact is the text of a recorded value, or a null.
type fact struct {
	text  string
	given bool
}

// readFacts appends to facts what the array of texts holds that Postgres sends in
// binary (array_send in its src/backend/utils/adt/arrayfuncs.c), or reports false. The
// texts are parts of array, unless that is long: an event waits in a queue long after
// the others of its statement are gone.
func readFacts(facts []fact, array string) ([]fact, bool) {
	own := strings.Clone
	if len(array) <= maxShared {
		own = func(s string) string { return s }
	}
	next := func() (n int, ok bool) {
		if len(array) < 4 {
			return 0, false
		}
		n = int(int32(uint32(array[0])<<24 | uint32(array[1])<<16 | uint32(array[2])<<8 | uint32(array[3])))
		array = array[4:]
		return n, true
	}
	dimensions, ok := next()
	if !ok || dimensions < 0 || dimensions > 6 || len(array) < 8+8*dimensions {
		return facts, false
	}
	array = array[8:] // whether there are nulls, and the type
	count := 1
	for range dimensions {
		size, _ := next()
		if size < 0 || size > 1<<28 {
			return facts, false
		}
		count *= size
		array = array[4:] // the lower bound
	}
	if dimensions == 0 {
		count = 0
	}
	if count > len(array)/4 {
		return facts, false
	}
	for range count {
		n, ok := next()
		switch {
		case !ok || n > len(array) || n < -1:
			return facts, false
		case n == -1:
			facts = append(facts, fact{})
			continue
		default:
			facts = append(facts, fact{own(array[:n]), true})
		}
		array = array[n:]
	}
	return facts, len(array) == 0
}

// maxShared is how long a text may be for parts of it to keep all of it in memory.
const maxShared = 4 << 10

// oneFact returns the first text of an array, as records have it that are no facts of rows.
func oneFact(array string) ([]byte, bool) {
	facts, ok := readFacts(nil, array)
	if !ok || len(facts) == 0 || !facts[0].given {
		return nil, false
	}
	return []byte(facts[0].text), true
}
