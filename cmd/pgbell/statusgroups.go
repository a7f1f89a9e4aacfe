package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/triggers"
)

// otherScopes stands for what no feed's template can produce: scopes of
// pgbell.publish, say, or of feeds that are gone.
const otherScopes = "other"

// group is the scopes of one template that have subscribers.
type group struct {
	Template      string // otherScopes for none
	Other         bool
	Scopes        int
	Subscriptions int
}

// groupScopes counts scopes by the template they come from, never by name: a name
// holds values of columns, which not everyone who sees a count may see. It knows
// templates, not rows: a scope that several could produce counts for the one that
// says most of it literally.
func groupScopes(scopes map[string]int, feeds []triggers.Feed) []group {
	type candidate struct {
		scope.Template
		literal int // bytes
		group
	}
	var all []*candidate
	for _, feed := range feeds {
		for _, text := range feed.Scopes {
			if slices.ContainsFunc(all, func(c *candidate) bool { return c.group.Template == text }) {
				continue
			}
			template, err := scope.Parse(text)
			if err != nil { // attach has read it
				continue
			}
			columns := template.Columns()
			literal := len(text) - 2*len(columns) - len(strings.Join(columns, ""))
			all = append(all, &candidate{template, literal, group{Template: text}})
		}
	}
	slices.SortStableFunc(all, func(a, b *candidate) int {
		constant := func(c *candidate) int { return min(1, len(c.Columns())) }
		return cmp.Or(cmp.Compare(constant(a), constant(b)), cmp.Compare(b.literal, a.literal), cmp.Compare(a.group.Template, b.group.Template))
	})
	other := group{Template: otherScopes, Other: true}
	for scope, n := range scopes {
		g := &other
		if i := slices.IndexFunc(all, func(c *candidate) bool { return c.Matches(scope) }); i >= 0 {
			g = &all[i].group
		}
		g.Scopes++
		g.Subscriptions += n
	}
	var groups []group
	for _, c := range all {
		groups = append(groups, c.group)
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.Subscriptions, a.Subscriptions), cmp.Compare(a.Template, b.Template))
	})
	if other.Scopes > 0 {
		groups = append(groups, other)
	}
	return groups
}
