package listener

import "github.com/pgbell/pgbell/journal"

// inParts watches records that are emitted before all of their transaction is known, for
// there are too many to hold: a table to which a transaction wrote more than once gets a
// reset behind all, since nobody can say whether the order was right.
type inParts struct {
	statements map[written]uint64 // the LSN of the last one
	doubtful   map[string]*journal.Record
}

type written struct {
	tx    uint64
	table string
}

func (p *inParts) add(r *journal.Record) {
	if r.Table == "" || r.Reset != nil {
		return
	}
	w := written{r.Tx, r.Table}
	if last, ok := p.statements[w]; ok && last != r.LSN {
		if p.doubtful == nil {
			p.doubtful = map[string]*journal.Record{}
		}
		p.doubtful[r.Table] = r
	}
	if p.statements == nil {
		p.statements = map[written]uint64{}
	}
	p.statements[w] = r.LSN
}

func (p *inParts) resets() []*journal.Record {
	var resets []*journal.Record
	for _, r := range p.doubtful {
		resets = append(resets, r.Doubtful())
	}
	return resets
}
