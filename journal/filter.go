package journal

import "hash/maphash"

// filter is a Bloom filter over the scopes of a record: most records concern nobody
// who asks, and a look at one word tells so in a hundredth of the time that a look
// at every scope takes. The zero value filters nothing.
type filter struct {
	one  uint64 // all there is, of a few scopes
	many []uint64
}

var filterSeed = maphash.MakeSeed()

func filterHash(scope string) uint64 { return maphash.String(filterSeed, scope) }

// newFilter returns one of at least 32 bits a scope, so that one of 32 records that
// don't have a scope is looked at, or fewer.
func newFilter(changes []Change) filter {
	n := 0
	for _, c := range changes {
		n += len(c.Scopes)
		if c.Old != nil {
			n += len(c.Old.Scopes)
		}
	}
	words := 1
	for words < n/2 {
		words *= 2
	}
	var f filter
	if words > 1 {
		f.many = make([]uint64, words)
	}
	for _, c := range changes {
		f.add(c.Scopes)
		if c.Old != nil {
			f.add(c.Old.Scopes)
		}
	}
	return f
}

func (f *filter) add(scopes []string) {
	for _, scope := range scopes {
		hash := filterHash(scope)
		*f.word(hash) |= 1 << (hash & 63)
	}
}

// word returns the word that has the bit of a hash.
func (f *filter) word(hash uint64) *uint64 {
	if f.many == nil {
		return &f.one
	}
	return &f.many[hash>>6&uint64(len(f.many)-1)]
}

// mayHave says false if none of the scopes is there that hash to hashes.
func (f *filter) mayHave(hashes []uint64) bool {
	if f.many == nil && f.one == 0 {
		return true
	}
	for _, hash := range hashes {
		if *f.word(hash)&(1<<(hash&63)) != 0 {
			return true
		}
	}
	return false
}
