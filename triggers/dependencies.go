package triggers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/triggers/deps"
)

// Dependencies say what the result of a query depends on, and which scopes tell of it.
type Dependencies struct {
	Relations []Relation
	// Opaque names what can't be looked into: functions that aren't written with begin
	// atomic or return, and what no trigger tells of, such as a materialized view.
	Opaque []string
	// Time names what gives another result each time, whatever the tables hold: now().
	Time []string

	params []uint32
}

// Relation is a table as the query reads it. A change matters only if the row, as it was or
// as it became, is equal in all columns of Equals.
type Relation struct {
	Table   string
	Columns []string // that the query uses
	Equals  []deps.Equality
	Among   []deps.Among // what a lookup tells of other columns
	// Scope is the one that tells of all such changes, with the parameters in it: project:$1.
	// Empty if there is none.
	Scope string
	// Audience is the feed's: who isn't in it is told nothing. Nil is everyone.
	Audience []string
	// Missing says why no scope tells, and Attach is a statement after which one does.
	Missing, Attach string
	// Lookup is in place of Scope where lookups are run, with the column that they read in
	// it: person:{cards.owner}. It tells of fewer changes. Empty if there is none.
	Lookup string

	template, plain string // of Scope, and of the table's feed
	lookup          *lookup
}

// lookup is how a scope is made for each value that a lookup gives.
type lookup struct {
	template string
	among    deps.Among
}

// MaxLookup is how many values of a lookup make scopes.
const MaxLookup = 100

// Complete says whether the scopes tell of each change of a row that can change the result.
func (d Dependencies) Complete() bool {
	return len(d.Opaque) == 0 && !slices.ContainsFunc(d.Relations, func(r Relation) bool { return r.Scope == "" })
}

// Scopes are those that a page must listen to which shows the result with these arguments,
// given as to pgx. It is an error if they would not tell of everything.
func (d Dependencies) Scopes(args ...any) ([]string, error) {
	return d.scopes(d.Unheard(), nil, args)
}

// Lookups are SQL expressions of type text[], one for each relation that has a Lookup: the
// values that there are now, one more than [MaxLookup] at most. param gives the SQL of a
// parameter, with its type: $1::int. They are to be run in the snapshot of the result, as who
// reads what the query reads, itself or by a view; it takes the right to read the tables.
func (d Dependencies) Lookups(param func(int) string) (expressions []string) {
	for _, r := range d.Relations {
		if r.lookup != nil {
			expressions = append(expressions, r.lookup.among.Of.SQL(param, MaxLookup+1))
		}
	}
	return expressions
}

// ScopesWith is as Scopes, with what Lookups gave. They tell of each change that can change
// the result of that snapshot: listen to them, then look once more whether it is the same, and
// ask for them anew with each result. Where there are more than [MaxLookup] values the scope is
// the one without a lookup; it is an error if there is none.
func (d Dependencies) ScopesWith(found [][]string, args ...any) ([]string, error) {
	return d.scopes(d.UnheardWith(), found, args)
}

func (d Dependencies) scopes(unheard []string, found [][]string, args []any) ([]string, error) {
	if len(unheard) > 0 {
		return nil, fmt.Errorf("a change could go unheard: %s", strings.Join(unheard, "; "))
	}
	if len(args) != len(d.params) {
		return nil, fmt.Errorf("the query has %d parameters, and %d arguments are given", len(d.params), len(args))
	}
	scopes := []string{}
	for _, r := range d.Relations {
		values := []string{""}
		template := r.template
		if r.lookup != nil && found != nil {
			if len(found) == 0 {
				return nil, errors.New("values are given for fewer lookups than there are")
			}
			switch values, found = found[0], found[1:]; {
			case len(values) <= MaxLookup:
				template = r.lookup.template
			case r.Scope == "":
				return nil, fmt.Errorf("%s are more than %d, and no scope tells of all of %s", r.lookup.among.Of, MaxLookup, r.Table)
			default:
				values = []string{""}
			}
		}
		for _, v := range values {
			s, null, err := r.scope(template, v, d.params, args)
			if err != nil {
				return nil, fmt.Errorf("scope %s: %w", cmp.Or(r.Scope, r.Lookup), err)
			}
			if !null && !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	return scopes, nil
}

// Unheard says what keeps the scopes from telling of everything: nothing if they do.
func (d Dependencies) Unheard() (why []string) {
	return d.unheard(func(r Relation) bool { return r.Scope != "" })
}

// UnheardWith is as Unheard, for who runs lookups.
func (d Dependencies) UnheardWith() (why []string) {
	return d.unheard(func(r Relation) bool { return r.Scope != "" || r.Lookup != "" })
}

func (d Dependencies) unheard(told func(Relation) bool) (why []string) {
	for _, name := range d.Opaque {
		why = append(why, name+" can't be looked into")
	}
	for _, r := range d.Relations {
		if !told(r) {
			why = append(why, r.Table+" "+r.Missing+": "+strings.Join(strings.Fields(r.Attach), " "))
		}
	}
	return why
}

// scope fills a template of r in, for a value of its lookup. No row matters if something is to
// be equal to null, and a value that makes no scope leaves the one of the whole table.
func (r Relation) scope(template, value string, params []uint32, args []any) (name string, null bool, err error) {
	t, err := scope.Parse(template)
	if err != nil {
		return "", false, err
	}
	texts := map[string]string{}
	if r.lookup != nil {
		texts[r.lookup.among.Column] = value
	}
	for _, e := range r.Equals {
		text, null, err := e.Value.Of(params, args)
		if err != nil || null {
			return "", null, err
		}
		texts[e.Column] = text
	}
	name, ok := t.Make(func(i int) (string, bool) { return texts[t.Columns()[i]], true })
	switch {
	case ok:
		return name, false, nil
	case r.plain != "":
		return scope.Canonical(r.plain), false, nil
	}
	return "", false, errors.New("there is no such scope: it would be longer than 256 bytes, or is reserved; a scope of the whole table, without a column, would tell of it")
}

// Deps returns what the result of a query depends on, by the feeds there are now. The query
// is one SELECT with parameters $1, $2 and so on, or the name of a function; [deps.Of] says
// what it takes and how it fails.
func Deps(ctx context.Context, db interface {
	deps.Beginner
	Querier
}, query string) (Dependencies, error) {
	found, err := deps.Of(ctx, db, query)
	if err != nil {
		return Dependencies{}, fmt.Errorf("look at the query: %w", err)
	}
	feeds, err := List(ctx, db)
	if err != nil {
		return Dependencies{}, err
	}
	d := Dependencies{Opaque: found.Opaque, Time: found.Time, params: found.Params}
	wanted := map[string]*Feed{} // what to attach, by table
	for _, s := range found.Scans {
		r := Relation{Table: s.Table, Columns: s.Columns, Equals: s.Equals, Among: s.Among, Missing: "has no feed"}
		i := slices.IndexFunc(feeds, func(f Feed) bool { return f.Table == s.Table && len(f.Scopes) > 0 })
		if i >= 0 {
			r.find(feeds[i], s)
		}
		if r.Missing != "" {
			p, err := Propose(ctx, db, strconv.FormatUint(uint64(s.OID), 10))
			if err != nil {
				return Dependencies{}, err
			}
			switch {
			case wanted[s.Table] != nil:
			case i < 0:
				wanted[s.Table] = newFeed(p, s, found.Scans)
			default:
				f := feeds[i]
				wanted[s.Table] = &f
			}
			wanted[s.Table].extend(p, s, i < 0)
		}
		d.Relations = append(d.Relations, r)
	}
	for i, r := range d.Relations {
		if r.Missing == "" {
			continue
		}
		if d.Relations[i].Attach, _, err = SQL(*wanted[r.Table], nil); err != nil {
			return Dependencies{}, fmt.Errorf("a feed of %s: %w", r.Table, err)
		}
	}
	return d, nil
}

// find looks for the scope of a feed that tells of the changes that matter to a scan.
func (r *Relation) find(f Feed, s deps.Scan) {
	r.Audience, r.Missing = f.Audience, ""
	best, rank := bestOf(f.Scopes, s, false)
	by, better := bestOf(f.Scopes, s, true)
	for _, text := range f.Scopes {
		if t, err := scope.Parse(text); err == nil && len(t.Columns()) == 0 {
			r.plain = text
		}
	}
	var unheard []string
	for _, c := range s.Columns {
		if f.Columns != nil && !slices.Contains(f.Columns, c) {
			unheard = append(unheard, c)
		}
	}
	if f.State == "ok" && unheard == nil && better > rank {
		i := slices.IndexFunc(s.Among, func(m deps.Among) bool { return columnIn(by, m.Column) })
		r.lookup = &lookup{by, s.Among[i]}
		r.Lookup = shown(by, s)
	}
	switch {
	case f.State != "ok":
		r.Missing = "has a feed that doesn't tell of everything: " + f.State
	case rank < 0:
		r.Missing = "has a feed, but each of its scopes is for some of the rows that the query reads"
	case unheard != nil:
		r.Missing = "has a feed that leaves out updates of " + strings.Join(unheard, ", ")
	default:
		r.template, r.Scope = best, shown(best, s)
	}
}

// newFeed is one without scopes. It has an audience only if each scan of the table has a
// parameter for each owner: then its rows are some users' own.
func newFeed(p Proposal, s deps.Scan, all []deps.Scan) *Feed {
	f := &Feed{Table: s.Table}
	for _, o := range p.Owners {
		if !slices.ContainsFunc(all, func(other deps.Scan) bool {
			return other.OID == s.OID && worth([]string{o.What}, other, false) < byParameter
		}) {
			f.Audience = append(f.Audience, o.What)
		}
	}
	return f
}

// extend adds to f what it lacks to tell of a scan: columns, and a scope as one would be
// proposed, or by the column of a parameter; and one more for lookups.
func (f *Feed) extend(p Proposal, s deps.Scan, isNew bool) {
	for _, c := range s.Columns {
		if f.Columns != nil && !slices.Contains(f.Columns, c) {
			f.Columns = append(slices.Clone(f.Columns), c)
		}
	}
	if _, rank := bestOf(f.Scopes, s, false); rank >= byParameter || rank >= 0 && !isNew {
		return
	}
	candidates := p.Feed.Scopes
	for _, e := range s.Equals {
		if text := template(p.singular+"_"+e.Column, []string{e.Column}); e.Value.Param > 0 && checkTemplate(text) == nil {
			candidates = append(candidates, text)
		}
	}
	for _, m := range s.Among {
		if text := template(p.singular+"_"+m.Column, []string{m.Column}); checkTemplate(text) == nil {
			candidates = append(candidates, text)
		}
	}
	for _, lookups := range []bool{false, true} {
		if best, _ := bestOf(append(slices.Clone(f.Scopes), candidates...), s, lookups); !slices.Contains(f.Scopes, best) {
			f.Scopes = append(slices.Clone(f.Scopes), best)
		}
	}
}
